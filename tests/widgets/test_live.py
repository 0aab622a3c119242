"""The live profiler on the real model."""
from __future__ import annotations

import pytest

from labkit.errors import BadRequest
from labkit.widgets import LiveProfiler


def test_it_sees_the_tokens_of_an_answer(slm, until):
    with LiveProfiler(slm, interval_s=0.05) as live:
        reply = slm.chat("Count from one to twenty in words.", max_tokens=40)
        until(lambda: len(live.history["seconds"]) > 2)
    assert live._tokens == reply.usage.completion_tokens
    assert max(live.history["tokens_per_s"]) > 0
    assert min(live.history["rss_mib"]) > 50  # the model's weights are in this process
    assert len({len(series) for series in live.history.values()}) == 1
    assert live.history["seconds"] == sorted(live.history["seconds"])


def test_the_cpu_share_is_of_all_cpus(slm):
    with LiveProfiler(slm, interval_s=0.05) as live:
        slm.chat("Write a poem.", max_tokens=40)
    assert 0 < max(live.history["cpu_share"]) <= 130  # the clock that counts CPU time is coarse


def test_the_buttons_start_and_stop_it(slm, until):
    live = LiveProfiler(slm, interval_s=0.02, start=False)
    assert not live.running and live.stop_button.disabled and live.history["seconds"] == []
    live.start_button.click()
    until(lambda: len(live.history["seconds"]) > 2)
    assert live.running and live.start_button.disabled and "Watching" in live._panel.value
    live.stop_button.click()
    assert not live.running and "Stopped watching" in live._panel.value
    count, tokens = len(live.history["seconds"]), live._tokens
    slm.chat("Hello", max_tokens=4)
    assert (len(live.history["seconds"]), live._tokens) == (count, tokens)


def test_stopping_leaves_no_observer_and_starting_twice_adds_one(slm):
    before = list(slm.on_chunk)
    live = LiveProfiler(slm).start()
    assert len(slm.on_chunk) == len(before) + 1
    live.stop().stop()
    assert slm.on_chunk == before


def test_a_short_answer_is_still_a_sample(scripted):
    with LiveProfiler(scripted("a ", "b "), interval_s=60) as live:
        live._slm.chat("Hi")
    assert len(live.history["seconds"]) == 1 and live.history["tokens_per_s"][0] > 0


def test_closing_stops_it(slm):
    live = LiveProfiler(slm)
    live.close()
    assert not live.running and not any(getattr(f, "__self__", None) is live for f in slm.on_chunk)


def test_what_is_stored_is_readable_without_widgets(slm):
    with LiveProfiler(slm, interval_s=0.05) as live:
        slm.chat("Hello", max_tokens=16)
    bundle = live._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/plain", "text/html"} <= set(bundle)
    for unit in ("tokens/s", "MiB", "%"):
        assert unit in bundle["text/plain"] and unit in bundle["text/html"]
    assert "<svg" in bundle["text/html"] and 'aria-label="Decoding: now' in bundle["text/html"]


def test_before_the_first_sample_it_says_so(scripted):
    live = LiveProfiler(scripted(), start=False)
    assert "No sample yet" in live.text() and "–" in live.html()


def test_it_refuses_what_is_no_model():
    with pytest.raises(BadRequest, match="lk.connect"):
        LiveProfiler("SmolLM2")
