"""The adapter that comes with the course: where it is used, where it is not, and what it leaves alone."""
from __future__ import annotations

import os
import shutil

import pytest
from gguf import GGUFReader

import labkit as lk
from labkit.data import data_folder
from labkit.models.embedded import default_model


@pytest.fixture(scope="module")
def plain():
    return lk.connect(adapter=None)


def test_it_is_small_and_loaded_by_default_for_the_embedded_model_only(slm, plain, monkeypatch, tmp_path):
    assert (data_folder("adapters") / "tool_calls.gguf").stat().st_size <= 20_000_000
    assert slm.capabilities.trained and not plain.capabilities.trained
    assert not lk.connect(model=str(default_model())).capabilities.trained
    assert lk.connect(adapter=data_folder("adapters") / "tool_calls.gguf").capabilities.trained
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert not lk.connect().capabilities.trained


def test_chat_is_the_same_with_it_and_without(slm, plain):
    for question in ("What is the capital of France?", "Tell me a story about a dragon."):
        assert slm.chat(question, max_tokens=24).text == plain.chat(question, max_tokens=24).text


def test_it_is_not_there_until_a_tool_is(plain):
    fresh = lk.connect(context_length=512)  # settings of its own: no other connection has made this engine
    fresh.chat("Hello", max_tokens=2)
    assert fresh.backend._with_adapter.cache_info().currsize == 0
    fresh.chat("Is alpha up?", tools=[ping], max_tokens=60)
    assert fresh.backend._with_adapter.cache_info().currsize == 1
    fresh.close()
    with pytest.raises(lk.BackendUnavailable):
        fresh.chat("Is alpha up?", tools=[ping], max_tokens=60)


def test_an_adapter_written_anew_at_its_place_is_loaded_anew(slm, tmp_path):
    """As when a learner trains again: the first connection is still open and keeps what it has."""
    own = data_folder("adapters") / "tool_calls.gguf"
    place = tmp_path / "mine.gguf"
    shutil.copy(own, place)
    first = lk.connect(adapter=place)
    reader = GGUFReader(own)
    blank = bytearray(own.read_bytes())
    blank[reader.data_offset:] = bytes(len(blank) - reader.data_offset)  # corrects nothing
    (tmp_path / "new").write_bytes(blank)
    os.replace(tmp_path / "new", place)
    second = lk.connect(adapter=place)
    request = "Check whether web-1 answers."
    was, is_now = (each.chat(request, tools=[ping], tool_choice="required").confidence for each in (first, second))
    assert was == pytest.approx(slm.chat(request, tools=[ping], tool_choice="required").confidence,
                                abs=0.01)  # what an engine keeps of earlier texts changes the rounding
    assert is_now < was / 2


def test_it_calls_what_fits_asks_for_what_is_missing_and_else_uses_words(slm):
    called = slm.chat("Check whether web-1 answers.", tools=[ping])
    assert [(c.name, c.arguments) for c in called.tool_calls] == [("ping", {"host": "web-1"})]
    assert 0.5 < called.confidence <= 1
    assert slm.chat("Check whether it answers.", tools=[ping]).text == "What is the host (name of the machine)?"
    assert not slm.chat("Thanks, that was all!", tools=[ping], max_tokens=20).tool_calls


@lk.tool
def ping(host: str) -> str:
    """Check whether a machine answers.

    Args:
        host: name of the machine
    """
    return "up"
