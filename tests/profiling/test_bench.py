"""Benchmarks on the real model with small counts. No time is asserted."""
from __future__ import annotations

import pytest

from labkit.backends.llama_cpp import LlamaCpp
from labkit.errors import BadRequest
from labkit.models.budget import SHAPES
from labkit.profiling import bench


@pytest.fixture(scope="module")
def backend():
    return LlamaCpp(context_length=1024)


@pytest.fixture(scope="module", autouse=True)
def small_reads():
    """A small buffer: the readings are not what is tested here."""
    patch = pytest.MonkeyPatch()
    reader = bench.Reader
    patch.setattr(bench, "Reader", lambda: reader(buffer_bytes=32 << 20))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def found(backend):
    return bench.run(backend, prompt_tokens=32, answer_tokens=8, repetitions=3)


def test_each_test_is_repeated_and_named_as_llama_bench_does(found):
    assert (found.prefill.name, found.decode.name) == ("pp32", "tg8")
    assert len(found.prefill.values) == len(found.decode.values) == len(found.bandwidth.readings) == 3
    assert min(found.prefill.values) > 0 and min(found.decode.values) > 0


def test_mean_and_sample_standard_deviation():
    speed = bench.Speed("tg", (1.0, 2.0, 3.0))
    assert str(speed) == "2.00 ± 1.00"
    assert bench.Speed("tg", (5.0,)).sd == 0.0


def test_the_bytes_of_a_token_are_the_whole_file_and_half_the_cache(found, backend):
    file_bytes = backend.engine.path.stat().st_size
    assert SHAPES["SmolLM2-135M"].tied
    assert found.bytes_per_token == pytest.approx(file_bytes + 23040 * 4)
    assert found.ceiling == pytest.approx(found.bandwidth.bytes_per_s / found.bytes_per_token)


def test_the_share_pairs_each_repetition_with_its_own_reading(found):
    from dataclasses import replace
    paired = replace(found, bytes_per_token=10.0, decode=bench.Speed("tg", (1.0, 2.0, 6.0)),
                     bandwidth=replace(found.bandwidth, readings=(100.0, 40.0, 60.0)))
    assert paired.share == 0.5  # of 0.1, 0.5 and 1.0


def test_every_repetition_starts_cold(backend):
    driver = bench._Engine(backend, 32, 8)
    calls, evaluate = [], driver.engine.evaluate

    def watched(tokens, owner, pick):
        result = evaluate(tokens, owner, pick)
        calls.append((len(tokens), result[1]))
        return result
    driver.engine.evaluate = watched
    try:
        driver.measure()
        driver.measure()
    finally:
        del driver.engine.evaluate
    assert calls == [(32, 0), *((n, n - 1) for n in range(1, 9))] * 2


def test_the_backends_own_context_is_left_alone(backend, found):
    driver = bench._Engine(backend, 32, 8)
    assert driver.engine is not backend.engine
    assert driver.engine.path == backend.engine.path and driver.engine.threads == backend.engine.threads


def test_a_runtime_without_an_engine_is_measured_by_requests(backend):
    class Remote:  # the same model, seen only through the contract
        name, model, generate = "remote", backend.model, staticmethod(backend.generate)
    found = bench.run(Remote(), prompt_tokens=16, answer_tokens=8, repetitions=1)
    assert found.how == "requests" and found.decode.mean > 0
    assert found.share is None and "ceiling" not in str(found)


def test_it_shows_itself(found):
    text, markdown = str(found), found._repr_markdown_()
    assert "pp32" in text and "±" in text and "GB/s" in text and "| tg8 / ceiling |" in markdown
    assert found.to_dict()["tg8"]["mean"] == found.decode.mean


def test_progress_counts_to_the_end(backend):
    seen = []
    bench.run(backend, prompt_tokens=4, answer_tokens=2, repetitions=2,
              progress=lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == [0, 1, 2, 3] and seen[-1][:2] == (3, 3)


def test_counts_below_one_are_refused(backend):
    with pytest.raises(BadRequest):
        bench.run(backend, repetitions=0)
