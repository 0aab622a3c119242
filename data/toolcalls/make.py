"""Examples of tool calls, made from the tools in tools/: `python data/toolcalls/make.py SPLIT GROUPS SEED FILE`,
and without arguments the files that are kept here, to choose (dev) and to measure (test, desks) by.

An example is a list of tools with some requests and, for each, what is right: a list of calls, empty for an
answer in words; null as an argument stands for a required value that the request does not give. Domains are
dealt to the splits before anything else, so that no tool of "dev" or "test" is ever seen in "train".
"""
from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from masks import Mask
from specs import SLOT, ToolSpec, Wording, find, read_all
from wording import draw

HELD_OUT = {
    "dev": {"gardening", "accounting", "astronomy", "spreadsheets", "trains_and_buses", "film_production",
            "everyday_calculations"},
    "test": {"pets", "car_and_charging", "insurance", "chemistry", "contacts_and_calls", "sports",
             "warehouse_and_shipping", "geometry", "event_management", "materials", "economics", "web_apis"},
}
DESKS = "desk_"  # domains of the course's own agents: their tools are in "train", with four wordings of five;
SPLITS = ("train", *HELD_OUT, "desks")  # the fifth, and fresh values, are the split "desks"
MEASURED = {"dev": (28, 3), "test": (60, 1), "desks": (40, 1)}  # groups and seed of the .jsonl files that are kept
REQUESTS = 8  # with one list of tools: read once, used eight times in training
KINDS = {"one": 46, "spelled": 12, "several": 12, "near": 9, "other": 8, "chat": 4, "missing": 9}
BEFORE = ("Please ", "Hi, ", "Hey, ", "Hello! ", "OK so ", "Quick question: ", "Could you help me? ", "Hi there. ")
AFTER = (" Thanks!", " Thank you.", " please", " Cheers.", " Thanks in advance.", " That's all.")
INSTRUCTIONS = (
    "You are a helpful assistant.", "Be brief and friendly.", "You work at the front desk. Help the guests.",
    "Today is Tuesday, 14 October 2025.", "You answer questions of our customers.", "Always be polite.",
    "You are the assistant of a small company. Keep to the facts.", "The user's name is Mara.",
    "Use the tools when they help; otherwise answer in words.", "Answer in one or two sentences.",
    "You are an expert in your field. Never make up values.", "You help students with their homework.")
SPELLED = ("{tool}: {given}", "Use {tool} with {given}.", "{tool}, {given}", "Call {tool}. {given}.",
           "I need {tool}. The details: {given}.", "Please run {tool} for me ({given}).", "{tool} - {given}")
GIVEN = ("{name} {words}", "{name}: {words}", "{name} = {words}", "{name} is {words}", "{words} as {name}")
OWN_WORD = re.compile(r"\{[^}]*\}|\b([a-z]{5,})\b")  # of a wording; a slot is passed over
JOINTS = ("{a} Also, {b}", "{a} And {b}", "{a} Then {b}", "First, {a} After that, {b}", "{a} {B}",
          "Two things: {a} {B}")


@dataclass(frozen=True)
class Asked:
    """A request and what is right: [{"name", "arguments"}], empty for words."""

    kind: str
    request: str
    calls: list[dict[str, Any]]


@dataclass(frozen=True)
class Group:
    """Tools (OpenAI's function dicts), what else the system message says, and requests to them."""

    tools: list[dict[str, Any]]
    asked: list[Asked]
    instructions: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"tools": self.tools, "instructions": self.instructions, "asked": [vars(asked) for asked in self.asked]}


@dataclass
class Maker:
    """Draws groups of one split. The same split and seed give the same groups."""

    split: str
    seed: int = 0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.split} {self.seed}")

    @cached_property
    def tools(self) -> list[ToolSpec]:
        """The tools of this split."""
        return split_tools()[self.split]

    @cached_property
    def by_domain(self) -> dict[str, list[ToolSpec]]:
        found: dict[str, list[ToolSpec]] = {}
        for tool in self.tools:
            found.setdefault(tool.domain, []).append(tool)
        return found

    @cached_property
    def chat(self) -> list[str]:
        """Requests that need no tool; every sixth is for dev, every sixth for test."""
        lines = (Path(__file__).with_name("no_tool.txt")).read_text(encoding="utf-8").splitlines()
        share = {"dev": {4}, "test": {5}, "desks": {5}, "train": {0, 1, 2, 3}}[self.split]
        return [line for n, line in enumerate(filter(None, lines)) if n % 6 in share]

    def groups(self, n: int) -> Iterator[Group]:
        """`n` groups, each with a list of tools and REQUESTS requests."""
        for _ in range(n):
            offered = self._offer()
            masks = self._masks(offered)
            asked = [self._ask(offered, masks) for _ in range(REQUESTS)]
            said = self.rng.choice(INSTRUCTIONS) if self.rng.random() < 0.15 else ""
            yield Group([masks[tool.name].function(tool) for tool in offered], asked, said)

    def _masks(self, offered: Sequence[ToolSpec]) -> dict[str, Mask]:
        """A mask for each tool, no two of one name."""
        if self.split == "desks":
            return {tool.name: Mask(tool.name, {key: key for key in tool.parameters}) for tool in offered}
        while True:
            masks = {tool.name: Mask.draw(tool, self.rng) for tool in offered}
            if len({mask.name for mask in masks.values()}) == len(masks):
                return masks

    def _offer(self) -> list[ToolSpec]:
        """One to eight tools; half of the time mostly from one domain, where they look alike; or a whole desk."""
        desks = [domain for domain in self.by_domain if domain.startswith(DESKS)]
        if desks and self.rng.random() < (1 if self.split == "desks" else 0.15):
            desk = self.by_domain[self.rng.choice(desks)]
            return self.rng.sample(desk, len(desk))
        n = self.rng.choices(range(1, 9), (26, 22, 20, 14, 8, 5, 3, 2))[0]
        first = self.rng.choice(self.tools)
        alike = [tool for tool in self.by_domain[first.domain] if tool is not first]
        near = self.rng.sample(alike, min(len(alike), n - 1)) if self.rng.random() < 0.6 else []
        others = [tool for tool in self.rng.sample(self.tools, n) if tool is not first and tool not in near]
        offered = [first, *near, *others][:n]
        self.rng.shuffle(offered)
        return offered

    def _ask(self, offered: Sequence[ToolSpec], masks: Mapping[str, Mask]) -> Asked:
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        tool = self.rng.choice(offered)
        made = getattr(self, f"_{kind}")(tool, offered)
        calls = [masks[name].call(arguments) for name, arguments in made[1]]
        request = made[0].rstrip(".?") if self.rng.random() < 0.12 else made[0]
        return Asked(_kind(kind, calls), request, calls)

    def _one(self, tool: ToolSpec, _) -> tuple[str, list]:
        text, calls = self._filled(tool, self.rng.choice(tool.requests))
        return self._polite(text), calls

    def _spelled(self, tool: ToolSpec, offered: Sequence[ToolSpec]) -> tuple[str, list]:
        """A tool called by its name, its arguments listed with theirs: all that is required, and some more."""
        if not tool.parameters or any(about["type"] == "object" for about in tool.parameters.values()):
            return self._one(tool, offered)
        wanted = [key for key in tool.parameters if key in tool.required or self.rng.random() < 0.4]
        how = self.rng.choice(GIVEN)
        drawn = {key: draw(tool.parameters[key], self.rng) for key in wanted}
        parts = [how.format(name=_plain(key), words=words) for key, (_, words) in drawn.items()]
        self.rng.shuffle(parts)
        text = self.rng.choice(SPELLED).format(tool=_plain(tool.name), given=", ".join(parts))
        return text, [(tool.name, {key: value for key, (value, _) in drawn.items()})]

    def _several(self, tool: ToolSpec, offered: Sequence[ToolSpec]) -> tuple[str, list]:
        if tool.several and self.rng.random() < 0.5:
            return self._filled(tool, self.rng.choice(tool.several))
        second = self.rng.choice(offered)
        (a, first), (b, then) = (self._filled(t, self.rng.choice(t.requests)) for t in (tool, second))
        ended = a if a[-1] in ".?!" else f"{a}."
        joint = self.rng.choice(JOINTS)
        a, b, whole = (_lower(ended) if joint.startswith(("First", "Two")) else ended), _lower(b), b
        return joint.format(a=a, b=b, B=whole), [*first, *then]

    def _missing(self, tool: ToolSpec, offered: Sequence[ToolSpec]) -> tuple[str, list]:
        if not tool.missing:
            return self._one(tool, offered)
        return self._filled(tool, self.rng.choice(tool.missing))

    def _near(self, tool: ToolSpec, offered: Sequence[ToolSpec]) -> tuple[str, list]:
        return (self.rng.choice(tool.near), []) if tool.near else self._other(tool, offered)

    def _other(self, tool: ToolSpec, offered: Sequence[ToolSpec]) -> tuple[str, list]:
        """A request for a tool that is not there: half of the time for one of the same domain."""
        alike = [t for t in self.by_domain[tool.domain] if t not in offered]
        pool = alike if alike and self.rng.random() < 0.5 else [t for t in self.tools if t.domain != tool.domain]
        absent = self.rng.choice([t for t in pool if t not in offered])
        return self._polite(self._filled(absent, self.rng.choice(absent.requests))[0]), []

    def _chat(self, *_) -> tuple[str, list]:
        return self.rng.choice(self.chat), []

    # -- one request -----------------------------------------------------------------------

    def _filled(self, tool: ToolSpec, wording: Wording) -> tuple[str, list[tuple[str, dict]]]:
        """The words with values in their slots, and the calls they stand for."""
        values: dict[tuple[str, int], Any] = {}
        words: dict[tuple[str, int], str] = {}
        for slot in wording.slots:
            if slot not in values:
                values[slot], words[slot] = self._drawn(tool, slot, values)
        text = SLOT.sub(lambda m: words[m[1], int(m[2] or 1)], self._slipped(wording.text))
        n_calls = max((number for _, number in wording.slots), default=1)
        return text, [(tool.name, _arguments(tool, wording, values, n)) for n in range(1, n_calls + 1)]

    def _drawn(self, tool: ToolSpec, slot: tuple[str, int], taken: Mapping) -> tuple[Any, str]:
        for _ in range(20):  # two calls for the same thing would be one, and nobody travels from Oslo to Oslo
            value, words = draw(find(tool, slot[0]), self.rng)
            if value not in [v for (path, _), v in taken.items() if path == slot[0] or isinstance(v, str)]:
                break
        return value, words

    def _polite(self, text: str) -> str:
        if self.rng.random() < 0.12:
            before = self.rng.choice(BEFORE)
            text = before + (text if before[-2] in ".!?:" else _lower(text))
        if self.rng.random() < 0.08:
            after = self.rng.choice(AFTER)
            text = (text.rstrip(".?!") if after.islower() else text if text[-1] in ".?!" else f"{text}.") + after
        return text

    def _slipped(self, text: str) -> str:
        """Now and then with a slip of the hand: two letters swapped, or one left out, in a lower-case word.

        Values come later, into the slots: what is asked for must stand in the request as it is.
        """
        words = [m for m in OWN_WORD.finditer(text) if m[1]]
        if not words or self.rng.random() >= 0.06:
            return text
        at = self.rng.choice(words).start() + self.rng.randrange(1, 4)
        return text[:at] + (text[at + 1] + text[at] + text[at + 2:] if self.rng.random() < 0.5 else text[at + 1:])


def _kind(wanted: str, calls: Sequence[Mapping[str, Any]]) -> str:
    """What an example turned out to be: not every tool has wordings of every kind."""
    if not calls:
        return wanted if wanted in ("near", "other", "chat") else "other"
    if any(value is None for call in calls for value in call["arguments"].values()):
        return "missing"
    return "several" if len(calls) > 1 else wanted if wanted in ("one", "spelled") else "one"


def _arguments(tool: ToolSpec, wording: Wording, values: Mapping[tuple[str, int], Any], n: int) -> dict[str, Any]:
    """The arguments of the n-th call, in the order of the schema."""
    def given(path: str, about: Mapping[str, Any], root: str) -> Any:
        if (path, n) in values or (path, 1) in values:
            return values.get((path, n), values.get((path, 1)))
        if path in wording.fixed:
            return wording.fixed[path]
        if about["type"] == "object":
            inner = {key: given(f"{path}.{key}", part, root) for key, part in about["properties"].items()}
            return {key: value for key, value in inner.items() if value is not None} or None
        return None
    found = {name: given(name, about, name) for name, about in tool.parameters.items()}
    return {name: value for name, value in found.items() if value is not None or name in wording.lacks}


def split_tools() -> dict[str, list[ToolSpec]]:
    """Every tool by split."""
    held = {domain: split for split, domains in HELD_OUT.items() for domain in domains}
    found: dict[str, list[ToolSpec]] = {split: [] for split in SPLITS}
    for tool in read_all():
        if tool.domain.startswith(DESKS):
            found["train"].append(_part(tool, {0, 1, 2, 3}))
            found["desks"].append(_part(tool, {4}))
        else:
            found[held.get(tool.domain, "train")].append(tool)
    return found


def _part(tool: ToolSpec, share: set[int]) -> ToolSpec:
    """A tool with some of its wordings: those whose number, modulo 5, is in `share`."""
    kept = {key: tuple(text for n, text in enumerate(getattr(tool, key)) if n % 5 in share)
            for key in ("requests", "several", "missing", "near")}
    return replace(tool, **kept)


def _lower(text: str) -> str:
    first = re.match(r"[A-Za-z']+", text)
    keep = first is None or first[0] in ("I", "I'm", "I'd", "I've", "I'll") or first[0].isupper()
    return text if keep else text[0].lower() + text[1:]


def _plain(name: str) -> str:
    return re.sub(r"[_.]", " ", name)


def write(split: str, groups: int, seed: int, file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as out:
        for group in Maker(split, seed).groups(groups):
            out.write(json.dumps(group.to_dict(), ensure_ascii=False) + "\n")


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        for split, (groups, seed) in MEASURED.items():
            write(split, groups, seed, Path(__file__).with_name(f"{split}.jsonl"))
    else:
        split, groups, seed, file = arguments
        write(split, int(groups), int(seed), Path(file))


if __name__ == "__main__":
    main(sys.argv[1:])
