"""Intent routing: the data, and four ways to tell what a request is about."""
from __future__ import annotations

import re
from collections import Counter

import pytest

from labkit.agents.intents import NONE, SPLITS, Asked, Keywords, Likelihood, Probe, Words, judge, load, specialists
from labkit.data import data_folder
from labkit.errors import BadRequest

FEW = [Asked("train", "pets", text) for text in ("My dog is ill.", "Feed the cat.", "A vet for my rabbit?")] + [
    Asked("train", "cars", text) for text in ("The engine is loud.", "Change my tyres.", "A garage for my car?")]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def test_the_requests_are_what_the_card_says():
    names = set(specialists())
    assert len(names) == 7 and NONE not in names
    for split, each, out in (("train", 40, 40), ("dev", 15, 30), ("test", 40, 80)):
        counted = Counter(asked.intent for asked in load(split))
        assert counted == {**dict.fromkeys(names, each), NONE: out}


def test_no_request_shares_a_run_of_six_words_with_another_or_with_the_course_s_other_material():
    seen: dict[tuple, str] = {}
    for asked in (asked for split in SPLITS for asked in load(split)):
        told = words(asked.request)
        for run in zip(*(told[i:] for i in range(6)), strict=False):
            assert seen.setdefault(run, asked.request) == asked.request, f"{run}: {asked.request}"
    for file in ("toolcalls/test.jsonl", "toolcalls/dev.jsonl", "tool_requests/requests_test.jsonl"):
        folder, name = file.split("/")
        told = words((data_folder(folder) / name).read_text(encoding="utf-8"))
        assert not [run for run in zip(*(told[i:] for i in range(6)), strict=False) if run in seen], file


def test_keywords_find_what_is_named_and_nothing_else():
    assert Keywords()("Where is my parcel?") == "support" and Keywords()("Who wrote Faust?") == NONE


def test_linear_models_learn_from_examples(slm):
    for router in (Words(FEW), Probe(slm, FEW)):
        assert router("My cat needs a vet.") == "pets" and router("My car needs new tyres.") == "cars"
        name, p = router.scored("My cat needs a vet.")
        assert name == "pets" and 0.5 < p <= 1


def test_the_model_tells_without_training(slm):
    router = Likelihood(slm, {"pets": "Helps people with their cats, dogs and other pets.",
                              "cars": "Repairs cars and motorcycles."})
    assert router("My dog is ill and does not eat.") == "pets"


def test_judged_by_hand():
    items = [Asked("test", "a", "1"), Asked("test", "a", "2"), Asked("test", NONE, "3")]
    found = judge({"always a": lambda request: "a", "never": lambda request: NONE}, items)
    first, second = found.judged
    assert (first.right, first.in_scope, first.refused, first.out) == (2, 2, 0, 1)
    assert (second.right, second.refused) == (0, 1) and "2 requests in scope, 1 out" in str(found)


def test_what_makes_no_sense(slm, scripted_slm):
    with pytest.raises(BadRequest, match="no split 'all'"):
        load("all")
    with pytest.raises(BadRequest, match="two intents"):
        Words(FEW[:3])
    with pytest.raises(BadRequest, match="gives no vectors"):
        Probe(scripted_slm)
