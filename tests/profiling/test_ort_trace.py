"""ONNX Runtime's trace of a real session, read."""
from __future__ import annotations

import pytest

from labkit.backends.onnx import Onnx
from labkit.models import workshop
from labkit.profiling import ort_trace

pytestmark = pytest.mark.skipif(Onnx.why_not() is not None, reason=str(Onnx.why_not()))


def test_the_weights_take_most_of_the_time_and_every_layer_is_seen():
    times = ort_trace.operator_times(workshop.require("onnx"), "The capital of France is", tokens=4)
    assert times.prompt_tokens == 5
    assert max(times.decode, key=times.decode.get) in ("MatMul", "MatMulNBits")
    assert "GroupQueryAttention" in times.prefill and times.prefill.keys() >= {"SkipSimplifiedLayerNormalization"}
    assert sum(times.by_role().values()) == pytest.approx(sum(times.decode.values()))
    assert "operator" in str(times)


def test_optimisation_leaves_fewer_operators():
    found = {row.level: row for row in ort_trace.optimise(workshop.require("onnx"), tokens=4, runs=1)}
    assert found["all"].operators < found["none"].operators
    assert all(row.load_s > 0 and row.run_ms > 0 for row in found.values())
