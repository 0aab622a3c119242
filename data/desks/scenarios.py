"""The desks' scenarios: `python data/desks/scenarios.py` writes scenarios/ from wordings/ and the desks' databases.

Every wording is used once. dev and test have wordings of their own, and values of their own: which half a number or a
name of the database belongs to is drawn from itself. What is right is found by carrying it out: the calls run on a
fresh desk, and what they change is kept; a call that a rule must refuse has to be refused.
"""
from __future__ import annotations

import datetime
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from labkit import domains
from labkit.domains.scenario import KINDS, SPLITS
from labkit.errors import ToolError

HERE = Path(__file__).parent
SEED = 2
SLOT = re.compile(r"\{(\w+)(#\d)?(!)?\}")  # {order_id}, {order_id#2} of the second call, {order_id!} there is not
GENERATED = ("id", "meeting")  # numbers that an added row gets: they depend on what was there before
FROM_ELSEWHERE = 2  # requests that another desk would be for, per desk and split
OWN = (("support", "order_status"), ("technical", "run_diagnostics"), ("kiosk", "price_quote"),
       ("finance", "price_trend"), ("clinic", "available_appointments"), ("assistant", "complete_task"),
       ("office", "validate_invoice"))  # what they are about


class Values:
    """Values for slots: the value as an argument, and as it is said. each is of dev or of test."""

    def __init__(self, desk: domains.Desk, sources: Mapping[str, Any], split: str, rng: random.Random):
        self.desk, self.sources, self.half, self.rng = desk, sources, SPLITS.index(split), rng
        self._left: dict[str, list] = defaultdict(list)

    def draw(self, name: str, unknown: bool) -> tuple[Any, str]:
        if name in ("date", "due"):
            return self._day()
        if name == "time":
            return self._time()
        value = self._next(f"unknown {name}" if unknown else name)
        return value if isinstance(value, tuple) else (value, str(value))

    def picked(self, sql: str) -> dict[str, Any]:
        """The values of several slots that belong together, from a query's row."""
        return self.rng.choice([row for row in self.desk.database.query(sql) if self._mine(next(iter(row.values())))])

    def _mine(self, value: Any) -> bool:
        return random.Random(f"{SEED} {value}").randrange(2) == self.half

    def _next(self, name: str) -> Any:
        if not self._left[name]:
            source = self.sources[name]
            if isinstance(source, str):
                found = [next(iter(row.values())) for row in self.desk.database.query(source)]
                source = [value for value in found if self._mine(value)]
            elif isinstance(source, list):
                source = source[self.half::2]
            if isinstance(source, dict):  # a choice and how it is said, the same in both halves
                self._left[name] = [(value, word) for value, words in source.items() for word in words]
            else:
                self._left[name] = list(source)
            self.rng.shuffle(self._left[name])
        return self._left[name].pop()

    def _day(self) -> tuple[str, str]:
        day = datetime.date(2026, 3, 9) + datetime.timedelta(days=2 * self.rng.randint(0, 40) + self.half)
        said = (day.isoformat(), f"{day.day} {day:%B %Y}", f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%b %Y}")
        return day.isoformat(), self.rng.choice(said)

    def _time(self) -> tuple[str, str]:
        hour, minute = self.rng.randint(8, 17), self.rng.choice((0, 15, 30, 45))
        half = f"{(hour - 1) % 12 + 1}{f':{minute:02}' if minute else ''} {'am' if hour < 12 else 'pm'}"
        return f"{hour:02}:{minute:02}", self.rng.choice((f"{hour:02}:{minute:02}", half))


def filled(wording: Any, tool: str, values: Values) -> tuple[str, list[dict[str, Any]]]:
    """(request, its calls) of one wording; `calls` names the tools where there are several."""
    wording = {"text": wording} if isinstance(wording, str) else wording
    slots = {key: (value, str(value)) for key, value in
             (values.picked(wording["pick"]) if "pick" in wording else {}).items()}
    for name, number, unknown in SLOT.findall(wording["text"]):
        if name + number not in slots:
            slots[name + number] = values.draw(name, bool(unknown))
    request = SLOT.sub(lambda match: slots[match[1] + (match[2] or "")][1], wording["text"])
    calls = []
    for i, label in enumerate(wording.get("calls", [tool]), 1):
        takes = next(each for each in values.desk.tools if each.name == label).parameters["properties"]
        suffix = f"#{i}" if i > 1 else ""
        given = {name: slots[key][0] for name in takes
                 for key in ([name + suffix] if name + suffix in slots else [name] if name in slots else [])}
        given |= {name: [slots[key][0] for key in keys] for name, keys in wording.get("lists", {}).items()}
        calls.append({"name": label, "arguments": given | wording.get("set", {})})
    return request, calls


def carried_out(name: str, calls: list[dict[str, Any]], refused: bool) -> list[dict[str, Any]]:
    """What the calls change on a fresh desk. refused: whether the desk has to refuse them."""
    with domains.open_desk(name) as desk:
        before, errors = desk.database.snapshot(), []
        for call in calls:
            try:
                next(tool for tool in desk.tools if tool.name == call["name"]).run(call["arguments"])
            except ToolError as error:
                errors.append(str(error))
        assert bool(errors) == refused, (name, calls, errors)
        return [{"table": change.table, "kind": change.kind,
                 "values": {key: value for key, value in change.values.items()
                            if not (change.kind == "added" and key in GENERATED and isinstance(value, int))}}
                for change in desk.database.changes(before)]


def made(name: str, split: str) -> Iterator[dict[str, Any]]:
    """A desk's scenarios for one split."""
    words = yaml.safe_load((HERE / "wordings" / f"{name}.yaml").read_text(encoding="utf-8"))
    with domains.open_desk(name) as desk:
        values = Values(desk, words["values"], split, random.Random(f"{SEED} {name} {split}"))
        for group, wordings in words["requests"].items():
            kind = group if group in KINDS else "one"
            for wording in wordings[split]:
                given = {"text": wording, "calls": []} if kind in ("missing", "none") else wording
                tool = given.get("tool", group) if isinstance(given, dict) else group
                request, calls = filled(given, tool, values)
                changes = carried_out(name, calls, kind in ("unknown", "refused")) if calls else []
                yield {"kind": kind, "request": request, "calls": calls, "changes": changes}
    for request in elsewhere(name, split):
        yield {"kind": "none", "request": request, "calls": [], "changes": []}


def elsewhere(name: str, split: str) -> Iterator[str]:
    """Requests for other desks, which this one has no tool for."""
    rng = random.Random(f"{SEED} elsewhere {name} {split}")
    for other, tool in rng.sample([pair for pair in OWN if pair[0] != name], FROM_ELSEWHERE):
        words = yaml.safe_load((HERE / "wordings" / f"{other}.yaml").read_text(encoding="utf-8"))
        with domains.open_desk(other) as desk:
            values = Values(desk, words["values"], split, rng)
            yield filled(rng.choice(words["requests"][tool][split]), tool, values)[0]


def main() -> None:
    for name in domains.NAMES:
        for split in SPLITS:
            rows = [{"id": f"{name}-{split}-{i:02}", **row} for i, row in enumerate(made(name, split), 1)]
            text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
            (HERE / "scenarios" / f"{name}_{split}.jsonl").write_text(text, encoding="utf-8", newline="\n")
            print(f"{name} {split}: {len(rows)}")


if __name__ == "__main__":
    main()
