"""What people say to the agents of lesson 01: labelled texts, three readers, and how often each is right.

A reader is a function from a text to a label, or to None when it cannot tell.
The texts and how they were made: data/agents/README.md.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from labkit.data import data_folder
from labkit.errors import BadRequest
from labkit.intervals import share_interval
from labkit.table import Shown, Table

Reader = Callable[[str], Any]
WORLDS = ("room", "house", "town", "canteen")
KINDS = ("plain", "indirect", "trap")
KEYWORDS = {  # chosen on the dev half alone, and obvious neighbours of what stands there
    "room": {"cold": "cold freezing chilly brr sweater", "warm": "warm hot sweating sauna oven",
             "fine": "right comfortable good fine perfect complaints"},
    "house": {"kitchen": "kitchen stove flour baking oven fridge", "living room": "living television sofa tv",
              "bedroom": "bedroom bed sleep pillow", "bathroom": "bathroom shower toilet bath"},
    "town": {"bakery": "bakery bread baker", "hospital": "hospital nurses nurse doctor",
             "library": "library books book", "museum": "museum paintings painting",
             "school": "school teachers teacher", "station": "station train trains",
             "theatre": "theatre actors actor stage", "harbour": "harbour ship ships boat"},
    "canteen": {"liked": "loved love delicious good great compliments lovely again",
                "disliked": "meh awful terrible not bad hated left instead"},
}
_NUMBERS = {"noon": 12, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "one": 1, "two": 2, "three": 3,
            "four": 4, "five": 5}


@dataclass(frozen=True)
class Said:
    """kind: "plain" says it, "indirect" leaves it to be concluded, "trap" also names another label."""

    text: str
    label: Any
    kind: str


def load(world: str, split: str) -> list[Said]:
    """Half of what was said in a world: "dev" to choose wordings on, "test" to measure once chosen."""
    if world not in WORLDS or split not in ("dev", "test"):
        raise BadRequest(f"There is no {world!r}, {split!r}. Use {', '.join(WORLDS)}, and dev or test.")
    file = data_folder("agents") / f"{world}.json"
    items = json.loads(file.read_text(encoding="utf-8"))["items"]
    return [Said(i["text"], _one(i["label"]), i["kind"]) for i in items if i["split"] == split]


def _one(fields: Any) -> Any:
    """The value of a single field as it is, several as a tuple."""
    values = tuple(fields.values()) if isinstance(fields, Mapping) else (fields,)
    return values[0] if len(values) == 1 else values


def texts_by_label(said: Iterable[Said]) -> dict[Any, list[str]]:
    """{label: texts}"""
    found: dict[Any, list[str]] = {}
    for item in said:
        found.setdefault(item.label, []).append(item.text)
    return found


def by_keywords(keywords: Mapping[str, str]) -> Reader:
    """The dumbest rule there is: the label whose keyword comes last in the text; None if none does."""
    label_of = {word: label for label, words in keywords.items() for word in words.split()}

    def read(text: str) -> str | None:
        found = [label_of[word] for word in re.findall(r"\w+", text.casefold()) if word in label_of]
        return found[-1] if found else None
    return read


def by_asking(slm, instructions: str, schema: type, examples: Sequence[Said] = ()) -> Reader:
    """Ask the model straight out. Its answer can only be what `schema` allows.

    The reading is the value of the schema's only field, or a tuple of its values.
    """
    shown = [{"role": "system", "content": instructions}]
    for item in examples:
        shown += [{"role": "user", "content": item.text},
                  {"role": "assistant", "content": json.dumps({next(iter(schema.model_fields)): item.label})}]

    def read(text: str) -> Any:
        reply = slm.chat([*shown, {"role": "user", "content": text}], schema=schema)
        return _one(reply.parsed.model_dump())
    return read


def by_likelihood(slm, prompts: Mapping[str, str]) -> Reader:
    """Turn the question round: the label whose prompt makes these words likeliest as the answer.

    The noisy-channel rule: Min et al., "Noisy Channel Language Model Prompting for Few-Shot Text
    Classification" (2022). Equal texts are compared, so no label is preferred for its own sake.
    """
    def read(text: str) -> str:
        pairs = [([{"role": "user", "content": prompt}], text) for prompt in prompts.values()]
        return max(zip(slm.backend.loglikelihood(pairs), prompts, strict=True))[1]
    return read


def first_that_can_tell(*readers: Reader) -> Reader:
    """Ask the readers in turn, cheapest first, and keep the first reading that is not None."""
    return lambda text: next((label for read in readers if (label := read(text)) is not None), None)


def hour_in(text: str) -> int | None:
    """The hour named in a text, on the 24-hour clock, between 9 and 17: "2 pm", "two", "noon"."""
    found = re.findall(rf"\b(\d{{1,2}}|{'|'.join(_NUMBERS)})\b", text.casefold())
    hours = [_NUMBERS.get(word) or int(word) for word in found]
    afternoon = [hour + 12 if hour < 8 else hour for hour in hours]
    return next((hour for hour in afternoon if 9 <= hour <= 17), None)


@dataclass(frozen=True, repr=False)
class Readings(Shown):
    """What each reader made of the same texts: {reader: {text: label}}, and seconds per text."""

    said: tuple[Said, ...]
    answers: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]

    __repr__ = Shown.__str__

    def right(self, reader: str, kind: str | None = None) -> tuple[int, int]:
        """(right, of how many), for one kind of text or all."""
        said = [item for item in self.said if kind in (None, item.kind)]
        return sum(self.answers[reader][item.text] == item.label for item in said), len(said)

    def share(self, reader: str) -> float:
        right, total = self.right(reader)
        return right / total

    def table(self) -> Table:
        kinds = [kind for kind in KINDS if any(item.kind == kind for item in self.said)]
        rows = []
        for reader in self.answers:
            share, low, high = share_interval(*self.right(reader))
            parts = ["{} of {}".format(*self.right(reader, kind)) for kind in kinds]
            silent = sum(answer is None for answer in self.answers[reader].values())
            rows.append((reader, f"{share:.0%}", f"{low:.0%} to {high:.0%}", *parts, str(silent),
                         f"{self.seconds[reader] * 1000:.0f} ms"))
        return Table(("reader", "right", "95 % interval", *kinds, "cannot tell", "a text"), tuple(rows))


def measure(readers: Mapping[str, Reader], said: Iterable[Said]) -> Readings:
    """Let every reader read every text, once."""
    said = tuple(said)
    answers, seconds = {}, {}
    for name, read in readers.items():
        start = perf_counter()
        answers[name] = {item.text: read(item.text) for item in said}
        seconds[name] = (perf_counter() - start) / len(said)
    return Readings(said, answers, seconds)
