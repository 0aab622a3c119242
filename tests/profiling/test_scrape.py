"""Other servers' figures in the same terms: texts of real servers, labkit's own live, and what is told of gaps."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import labkit as lk
from labkit.errors import BackendUnavailable, BadRequest
from labkit.profiling.scrape import UNITS, parse, quantile, scrape

# Recorded on 2 cores from llama.cpp's server in xllamacpp 2026.10, 2 slots, after 4 answers of 150 tokens.
LLAMA = (Path(__file__).parent / "recorded" / "llama_cpp_server.txt").read_text(encoding="utf-8")
# Written after vLLM's documentation of its metrics, for two engines; not recorded.
VLLM = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 3.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{engine="0",model_name="m"} 400.0
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{engine="0",model_name="m"} 900.0
# TYPE vllm:request_success counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 6.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 4.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="m"} 5.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="m"} 10.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 10.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 10.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 2.0
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="m"} 890.0
vllm:inter_token_latency_seconds_count{engine="0",model_name="m"} 890.0
vllm:inter_token_latency_seconds_sum{engine="0",model_name="m"} 8.9
"""


def test_llama_cpp_s_server():
    found = parse(LLAMA)
    assert (found.server, found["requests_running"], found["requests_waiting"]) == ("llama.cpp", 0, 0)
    assert (found["input_tokens"], found["output_tokens"]) == (78 + 74, 600)
    # what it calls its throughput is the speed of one answer: two were written at a time
    assert found["answer_tokens_per_s"] == pytest.approx(600 / 41.7061)
    assert found["kv_cache_share"] is None and found.missing["kv_cache_share"] == "this server does not tell"
    assert found.missing["ttft_mean_s"] == "this server does not tell"
    assert found.missing["tokens_per_s"] == "a rate needs two looks: later.since(earlier)"


def test_vllm_s_names_over_all_its_engines():
    found = parse(VLLM)
    assert (found.server, found["requests_running"], found["requests_waiting"]) == ("vllm", 3, 3)
    assert (found["requests"], found["input_tokens"], found["output_tokens"]) == (10, 400, 900)
    assert found["kv_cache_share"] == 0.5 and found["ttft_mean_s"] == 0.2
    assert found["ttft_p95_s"] == pytest.approx(0.46) and found["answer_tokens_per_s"] == pytest.approx(100)
    assert found.missing["latency_mean_s"] == "no request has ended"


def test_between_two_looks_only_what_happened_then():
    before = parse(VLLM)
    later = VLLM.replace("_total{engine=\"0\",model_name=\"m\"} 900", "_total{engine=\"0\",model_name=\"m\"} 1000")
    later = later.replace("_count{engine=\"0\",model_name=\"m\"} 10.0", "_count{engine=\"0\",model_name=\"m\"} 12.0")
    later = later.replace("_sum{engine=\"0\",model_name=\"m\"} 2.0", "_sum{engine=\"0\",model_name=\"m\"} 5.0")
    after = replace(parse(later), at_s=before.at_s + 4).since(before)
    assert (after["output_tokens"], after["tokens_per_s"], after["requests"]) == (100, 25, 0)
    assert after["ttft_mean_s"] == 1.5 and after["requests_running"] == 3 and after.span_s == 4
    assert "in 4.0 s" in str(after) and all(name in str(after) for name in UNITS)


def test_a_server_that_was_started_again_counts_from_zero():
    before, restarted = parse(VLLM), parse(VLLM.replace("} 900.0", "} 30.0"))
    after = replace(restarted, at_s=before.at_s + 3).since(before)
    assert after["output_tokens"] == 30 and after["tokens_per_s"] == 10
    with pytest.raises(BadRequest):
        before.since(after)
    with pytest.raises(BadRequest):
        replace(parse(LLAMA), at_s=before.at_s + 1).since(before)


def test_labkit_s_own_live(scripted_slm, script):
    from labkit.serving.background import serve_in_background
    script.enqueue("one").enqueue("two")
    with serve_in_background(scripted_slm) as server:
        before = scrape(server.base_url)
        assert before["requests"] is None and before.missing["requests"] == "no request has ended"
        for _ in range(2):
            httpx.post(f"{server.base_url}/v1/chat/completions", timeout=30,
                       json={"messages": [{"role": "user", "content": "Hello"}]})
        after = scrape(f"{server.base_url}/v1").since(before)
    assert after.server == "labkit" and after["requests"] == 2 and after["requests_running"] == 0
    assert after["latency_mean_s"] > 0 and after["latency_p95_s"] > 0 and after["requests_per_s"] > 0
    assert after["kv_cache_share"] is None


def test_what_is_no_such_server():
    with pytest.raises(BadRequest, match="another program"):
        parse("# TYPE up gauge\nup 1\n")
    with pytest.raises(BadRequest, match="no Prometheus text"):
        parse("<html> { </html>")
    with pytest.raises(BackendUnavailable, match="Is the server running"):
        scrape("http://127.0.0.1:9")
    with pytest.raises(KeyError):
        parse(VLLM)["tokens"]


def test_a_key_is_asked_for(scripted_slm):
    from labkit.serving.background import serve_in_background
    with serve_in_background(scripted_slm, api_key="secret") as server:
        with pytest.raises(lk.BackendUnavailable, match="401"):
            scrape(server.base_url)
        assert scrape(server.base_url, "secret").server == "labkit"


@pytest.mark.parametrize("buckets, share, value", [
    ([(1.0, 10), (2.0, 20), (float("inf"), 20)], 0.5, 1.0),
    ([(1.0, 10), (2.0, 20), (float("inf"), 20)], 0.95, 1.9),
    ([(1.0, 10), (float("inf"), 20)], 0.95, 1.0),  # above the last bound: at least that
    ([(1.0, 0), (2.0, 4), (float("inf"), 4)], 0.25, 1.25),
])
def test_a_percentile_from_buckets(buckets, share, value):
    assert quantile(buckets, share) == pytest.approx(value)
