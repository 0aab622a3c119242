"""Training an adapter, for real, on a handful of examples: what comes out, what is refused, what survives a kill."""
from __future__ import annotations

import json
from dataclasses import replace

import pytest

import labkit as lk
from labkit.models import adapter
from labkit.models.adapter import Settings
from labkit.tools import examples, trained
from labkit.tools.tool import from_openai

PING = {"name": "ping", "description": "Is a machine up?", "parameters": {
    "type": "object", "required": ["host"], "properties": {"host": {"type": "string"}}}}
HOSTS = ("alpha", "beta", "gamma", "delta", "omega", "zeta")
QUICK = Settings(rank=4, steps=4, check=2, report=1, warmup=1, batch_tokens=90, rate=2e-3)  # a group a step

pytestmark = pytest.mark.usefixtures("workshop_environment")


def lines(words: str = "Is {} up?"):
    groups = [examples.made({"tools": [PING], "asked": [
        {"request": words.format(host), "calls": [{"name": "ping", "arguments": {"host": host}}]},
        {"request": "Thanks!", "calls": []}]}) for host in HOSTS]
    return list(examples.lines(groups))


def train(target, settings=QUICK, words="Is {} up?", **more):
    return adapter.train(lines(words), lines("{} up?"), target, settings, format=trained.FORMAT,
                         about={"labkit.tools": json.dumps(trained.fingerprints([from_openai(PING)]))}, **more)


def test_it_learns_is_loaded_and_leaves_chat_as_it_was(tmp_path):
    events = []
    done = train(tmp_path / "mine.gguf", on_event=events.append)
    assert done.steps == 4 and [step for step, *_ in done.curve] == [2, 4]
    assert [event["event"] for event in events] == ["step", "step", "valid", "step", "step", "valid", "done"]
    assert 100_000 < done.path.stat().st_size < 5_000_000 and list(tmp_path.iterdir()) == [done.path]
    with lk.connect(adapter=done.path) as mine, lk.connect(adapter=None) as slm:
        assert mine.capabilities.trained and not slm.capabilities.trained
        reply = mine.chat("Is epsilon up?", tools=[PING], tool_choice="required")
        assert reply.tool_calls[0].name == "ping" and 0 < reply.confidence <= 1
        with pytest.warns(UserWarning, match="ping: changed since the adapter was trained"):
            mine.chat("Is epsilon up?", tools=[{**PING, "description": "Is a ship at sea?"}], max_tokens=60)
        question = "What is the capital of France?"
        assert mine.chat(question, max_tokens=8).text == slm.chat(question, max_tokens=8).text


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    def kill(event):
        if event["event"] == "step" and event["step"] == 3:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "mine.gguf", words="Is {} there?", on_event=kill)
    assert not (tmp_path / "mine.gguf").exists()
    events = []
    train(tmp_path / "mine.gguf", words="Is {} there?", on_event=events.append)
    assert events[0] == {"event": "resumed", "step": 2} and events[1]["step"] == 3


CHANGED = """
import export_lora
first, then = (export_lora.read(file, 9, 3) for file in {files!r})
print(*sorted({{int(layer) for layer, *rest in first if (first[layer, *rest] != then[layer, *rest]).any()}}))
"""


def test_it_goes_on_from_an_adapter_with_the_last_layers_alone(tmp_path, in_workshop):
    first = train(tmp_path / "first.gguf").path
    then = train(tmp_path / "then.gguf", replace(QUICK, layers=2), start=first)
    assert [step for step, *_ in then.curve] == [0, 2, 4] and then.curve[-1][1] < then.curve[0][1]
    assert in_workshop(CHANGED.format(files=[str(first), str(then.path)])).split() == ["28", "29"]


def test_what_it_goes_on_from_is_kept_when_training_makes_it_worse(tmp_path, in_workshop):
    first = train(tmp_path / "first.gguf").path
    then = train(tmp_path / "then.gguf", replace(QUICK, rate=5.0), start=first)
    assert then.curve[-1][1] > then.curve[0][1]
    assert in_workshop(CHANGED.format(files=[str(first), str(then.path)])) == ""


def test_no_layer_that_learns_is_refused():
    with pytest.raises(lk.BadRequest, match="one at least must learn"):
        Settings(layers=0)


def test_a_loss_that_is_no_number_stops_it(tmp_path):
    with pytest.raises(lk.LabkitError, match="no number.*lower rate"):
        train(tmp_path / "mine.gguf", replace(QUICK, rate=1e25, check=100))
    assert not list(tmp_path.iterdir())


def test_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(lk.LabkitError, match="nothing to train on"):
        adapter.train([], lines(), tmp_path / "mine.gguf", format=trained.FORMAT)


def test_a_file_that_is_no_adapter_is_refused(tmp_path):
    with pytest.raises(lk.ModelFileError, match="There is no adapter"):
        lk.connect(adapter=tmp_path / "absent.gguf")
    (tmp_path / "wrong.gguf").write_bytes(b"GGUF, or so it says")
    with pytest.raises(lk.ModelFileError, match="wrong.gguf could not be loaded as an adapter"):
        lk.connect(adapter=tmp_path / "wrong.gguf")


@pytest.mark.parametrize("key, value, said", [
    ("labkit.base", "Other-1B", "was trained on Other-1B"),
    ("labkit.format", "labkit-calls-0", "of the form labkit-calls-0"),
])
def test_an_adapter_for_something_else_is_refused_by_what_it_says_of_itself(tmp_path, key, value, said):
    path = train(tmp_path / "mine.gguf").path
    data, old = path.read_bytes(), {"labkit.base": b"SmolLM2-135M-Instruct", "labkit.format": b"labkit-calls-1"}[key]
    at = data.index(old, data.index(key.encode()))
    path.write_bytes(data[:at] + value.ljust(len(old)).encode()[:len(old)] + data[at + len(old):])
    with pytest.raises(lk.ModelFileError, match=said):
        lk.connect(adapter=path)
