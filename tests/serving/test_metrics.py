"""Figures and log lines of the service: what happened is counted once, and nothing of a conversation is in them."""
from __future__ import annotations

import json
import logging

import httpx
import pytest
from asking import PARIS
from prometheus_client.parser import text_string_to_metric_families
from test_limits import ask, gated, until  # noqa: F401  fixtures

import labkit as lk
from labkit.serving import request_log
from labkit.serving.tickets import Limits


def figures(url: str) -> dict:
    """{name: value, or {label: value}} of /metrics."""
    found: dict = {}
    for family in text_string_to_metric_families(httpx.get(url.split("/v1")[0] + "/metrics").text):
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_answers_are_counted_by_their_end(ask, gated):  # noqa: F811
    gated.gate.set()
    post = ask(Limits(at_once=1, rate="3/minute"))
    for _ in range(3):
        assert post(user="a").status_code == 200
    assert post(user="a").status_code == 429
    seen = figures(post.url)
    assert seen["labkit_requests_total", "ok"] == 3 and seen["labkit_requests_total", "rate_limited"] == 1
    assert seen["gen_ai_server_token_usage_total", "input"] == 3 == seen["gen_ai_server_token_usage_total", "output"]
    assert seen["gen_ai_server_request_duration_seconds_count",] == 3
    assert seen["labkit_requests_running",] == 0 == seen["labkit_requests_waiting",]


def test_what_runs_and_ends_late_is_seen(ask, gated):  # noqa: F811
    post = ask(Limits(at_once=1))
    assert post({"X-Deadline-S": "0.2"}).status_code == 504
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(post.url, json={"messages": PARIS}, timeout=0.3)
    until(lambda: figures(post.url).get(("labkit_requests_total", "client_left")) == 1)
    assert figures(post.url)["labkit_requests_total", "too_late"] == 1


def test_the_real_model_s_figures(server, slm):
    before = figures(server.base_url)
    reply = httpx.post(f"{server.base_url}/v1/chat/completions", timeout=60,
                       json={"messages": PARIS, "max_tokens": 8}).json()
    after = figures(server.base_url)
    for kind, name in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        key = ("gen_ai_server_token_usage_total", kind)
        assert after[key] - before.get(key, 0) == reply["usage"][name]


def test_a_request_has_a_name_in_the_answer_and_in_the_log(ask, gated, caplog):  # noqa: F811
    gated.gate.set()
    post = ask()
    with caplog.at_level(logging.INFO, "labkit.serving.requests"):
        named, unfit = post({"X-Request-Id": "mine-1"}), post({"X-Request-Id": "a b\tc"})
    assert named.headers["x-request-id"] == "mine-1" and len(unfit.headers["x-request-id"]) == 32
    line = json.loads(caplog.records[0].message)
    assert line["request"] == "mine-1" and line["outcome"] == "ok" and line["output_tokens"] == 1
    assert "capital" not in caplog.text and "done" not in caplog.text.replace("outcome", "")


def test_the_log_is_a_bounded_file(ask, gated, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(request_log, "BYTES", 400)
    gated.gate.set()
    post = ask()
    with request_log.logged(tmp_path / "log"):
        assert {post().status_code for _ in range(12)} == {200}
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4 and all(file.stat().st_size <= 400 for file in files)
    assert json.loads(files[0].read_text(encoding="utf-8").splitlines()[-1])["at"].endswith("+00:00")
    before = files[0].read_bytes()
    assert post().status_code == 200 and files[0].read_bytes() == before, "only while the block lasts"
    with pytest.raises(lk.LabkitError, match="cannot be written.*--log"), request_log.logged(tmp_path / "no" / "log"):
        pass


def test_two_services_do_not_add_up(scripted_slm, script):
    from labkit.serving.background import serve_in_background
    script.enqueue("one")
    with serve_in_background(scripted_slm) as a, serve_in_background(lk.Chat(script)) as b:
        httpx.post(f"{a.base_url}/v1/chat/completions", json={"messages": PARIS})
        assert ("labkit_requests_total", "ok") in figures(a.base_url)
        assert ("labkit_requests_total", "ok") not in figures(b.base_url)
