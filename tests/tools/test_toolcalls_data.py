"""The course's material for tool calls: whole, split by tool, the same every time, and not the leaderboard's."""
from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from itertools import combinations
from pathlib import Path

import pytest

from labkit.data import data_folder
from labkit.tools import examples

WORDS = 8  # as long as a run of words may be that a benchmark's question has too


@pytest.fixture(scope="module")
def make():
    """data/toolcalls/make.py; it is a script, and imports its neighbours."""
    sys.path.insert(0, str(data_folder("toolcalls")))
    try:
        import make
        yield make
    finally:
        sys.path.pop(0)


def test_no_tool_is_in_two_splits(make):
    splits = make.split_tools()
    names = {split: {tool.name for tool in tools} for split, tools in splits.items()}
    assert all(len(names[split]) > 30 for split in make.SPLITS) and len(names["train"]) > 1000
    for one, other in combinations(("train", "dev", "test"), 2):
        assert not names[one] & names[other]
    domains = {split: {tool.domain for tool in tools} for split, tools in splits.items()}
    assert not domains["train"] & (domains["dev"] | domains["test"]) and not domains["dev"] & domains["test"]


def test_the_desks_tools_are_trained_with_other_wordings(make):
    splits = make.split_tools()
    trained = {tool.name: tool for tool in splits["train"]}
    assert len(splits["desks"]) > 30
    for tool in splits["desks"]:
        for kind in ("requests", "several", "missing", "near"):
            assert not any(wording in getattr(trained[tool.name], kind) for wording in getattr(tool, kind))


@pytest.mark.parametrize("split", ["test", "desks"])
def test_what_is_measured_on_is_what_the_maker_makes(make, split):
    kept = (data_folder("toolcalls") / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    made = [group.to_dict() for group in make.Maker(split, make.MEASURED[split][1]).groups(len(kept))]
    assert [json.loads(line) for line in kept] == made and len(kept) == make.MEASURED[split][0]


@pytest.mark.parametrize("split", ["train", "dev", "test", "desks"])
def test_every_call_fits_its_tool_and_a_seed_repeats(make, split):
    groups = [group.to_dict() for group in make.Maker(split, 3).groups(150)]
    for group in groups:
        examples.made(group)
    assert groups == [group.to_dict() for group in make.Maker(split, 3).groups(150)]
    assert groups != [group.to_dict() for group in make.Maker(split, 4).groups(150)]
    kinds = Counter(asked["kind"] for group in groups for asked in group["asked"])
    assert kinds.keys() == make.KINDS.keys() and kinds["one"] > 0.4 * kinds.total()


def test_values_stand_in_the_request(make):
    """Copied codes are in the words; what is in the call and not in the words was worded otherwise on purpose."""
    copied = total = 0
    for group in make.Maker("train", 5).groups(200):
        for asked in group.asked:
            for value in (v for call in asked.calls for v in call["arguments"].values() if isinstance(v, str)):
                total += 1
                copied += value.lower() in asked.request.lower()
    assert 0.5 < copied / total < 0.95


def test_a_wrong_file_is_refused_with_its_tool(make, tmp_path):
    import specs
    text = (data_folder("toolcalls") / "tools" / "restaurants.yaml").read_text(encoding="utf-8")
    for wrong, said in ((text.replace("  requests:", "  request:", 1), "unknown keys"), ("tools: 3", "write `tools:`"),
                        ("a: [", "wrong.yaml")):
        (tmp_path / "wrong.yaml").write_text(wrong, encoding="utf-8")
        with pytest.raises(specs.SpecError, match=said):
            specs.read(tmp_path / "wrong.yaml")


def test_nothing_is_the_leaderboards(make):
    """No tool has the name of one of BFCL's, and no wording shares a run of WORDS words with its questions."""
    try:
        folder = Path(str(distribution("bfcl-eval").locate_file("bfcl_eval"))) / "data"
    except PackageNotFoundError:
        if os.environ.get("CI"):
            raise
        pytest.skip("bfcl-eval is not installed: pip install --no-deps bfcl-eval==2026.3.23")
    names, runs = set(), set()
    for file in folder.glob("BFCL_v4_*.json"):
        for row in _rows(file):
            names |= {f["name"] for f in row.get("function") or [] if isinstance(f, dict)}
            for text in _texts(row.get("question", [])):
                runs |= set(_runs(text))
    assert len(names) > 1000 and len(runs) > 10_000
    for tool in (tool for tools in make.split_tools().values() for tool in tools):
        assert tool.name not in names
        for text in [*(w.text for w in (*tool.requests, *tool.several, *tool.missing)), *tool.near]:
            assert not runs & set(_runs(re.sub(r"\{[^}]*\}", " slotted ", text))), (tool.name, text)


def _rows(file: Path) -> list[dict]:
    """A file has an object a line, or is one object over many lines (formats, no cases)."""
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError:
        return []


def _texts(value):
    if isinstance(value, str):
        yield value
    for part in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()):
        yield from _texts(part)


def _runs(text: str):
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [tuple(words[i:i + WORDS]) for i in range(len(words) - WORDS + 1)]


def test_a_slip_of_the_hand_is_never_in_a_value(make):
    groups = [group.to_dict() for group in make.Maker("train", 5).groups(600)]
    copied = [(value, asked["request"]) for group in groups for asked in group["asked"] for call in asked["calls"]
              for value in call["arguments"].values() if isinstance(value, str) and "@" in value]
    assert len(copied) > 10 and all(value in request for value, request in copied)
    asked = "Please transfer {amount} euros to {iban} quickly."
    slips = [text for seed in range(500) if (text := make.Maker("train", seed)._slipped(asked)) != asked]
    assert 10 < len(slips) < 60 and all("{amount}" in text and "{iban}" in text for text in slips)
