"""ONNX Runtime's own profile of a generation: which operators take the time, in prefill and in decode.

The runtime writes a trace in Chrome's format: an event a kernel, with its duration in microseconds, and one
for every run of the model, the first of which reads the prompt.
"""
from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.table import Shown, Table

# What an operator of a language model's graph does, in words.
ROLES = {"MatMul": "weights", "MatMulNBits": "weights", "GroupQueryAttention": "attention",
         "SkipSimplifiedLayerNormalization": "norms", "SimplifiedLayerNormalization": "norms",
         "QuickGelu": "activation", "Sigmoid": "activation", "Gather": "embedding", "GatherBlockQuantized": "embedding"}
LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC",
          "extended": "ORT_ENABLE_EXTENDED", "all": "ORT_ENABLE_ALL"}


@dataclass(frozen=True)
class OperatorTimes(Shown):
    """Milliseconds in each kind of operator: reading the prompt, and writing one token (the mean)."""

    prefill: dict[str, float]
    decode: dict[str, float]
    prompt_tokens: int

    def table(self) -> Table:
        total = sum(self.decode.values())
        rows = [(name, f"{self.prefill.get(name, 0):.2f}", f"{ms:.2f}", f"{ms / total:.0%}")
                for name, ms in sorted(self.decode.items(), key=lambda item: -item[1])]
        return Table(("operator", f"prefill of {self.prompt_tokens} tokens, ms", "a token, ms", "share"), tuple(rows))

    def by_role(self) -> dict[str, float]:
        """Milliseconds a token, by what the operators are for."""
        found: Counter = Counter()
        for name, ms in self.decode.items():
            found[ROLES.get(name, "the rest")] += ms
        return dict(found.most_common())


def operator_times(folder: Path, prompt: str, *, tokens: int = 16, threads: int = 1) -> OperatorTimes:
    """Generate `tokens` tokens greedily with the profiler on. Profiling itself costs some of the time."""
    import onnxruntime_genai as genai
    with tempfile.TemporaryDirectory() as place:
        config = genai.Config(str(folder))
        options = {"enable_profiling": str(Path(place) / "trace"), "intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        model = genai.Model(config)
        ids = genai.Tokenizer(model).encode(prompt)
        params = genai.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + tokens, min_length=len(ids) + tokens, do_sample=False)
        generator = genai.Generator(model, params)
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
        del generator, params, model, config  # the trace is written when the session ends
        return _times(read_trace(next(Path(place).glob("trace*.json"))), len(ids))


def read_trace(path: Path) -> list[dict[str, Any]]:
    """The events of a trace, in the order of their start."""
    return sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda event: event["ts"])


def _times(events: list[dict[str, Any]], prompt_tokens: int) -> OperatorTimes:
    runs = [event for event in events if event["name"] == "model_run"]
    prefill, *decode = [_kernels(events, run) for run in runs]
    every_token = sum(decode, Counter())
    return OperatorTimes(dict(prefill), {name: ms / len(decode) for name, ms in every_token.items()}, prompt_tokens)


def _kernels(events: list[dict[str, Any]], run: dict[str, Any]) -> Counter:
    """Milliseconds by operator within one run of the model."""
    found: Counter = Counter()
    for event in events:
        if event["name"].endswith("_kernel_time") and run["ts"] <= event["ts"] < run["ts"] + run["dur"]:
            found[event["args"]["op_name"]] += event["dur"] / 1000
    return found


@dataclass(frozen=True)
class Optimised:
    """One level of graph optimisation: how many operators are left, seconds to load, ms to read a prompt."""

    level: str
    operators: int
    load_s: float
    run_ms: float


def optimise(folder: Path, *, threads: int = 1, tokens: int = 32, runs: int = 3) -> list[Optimised]:
    """The same graph at ONNX Runtime's levels of optimisation, each timed by its fastest run of `tokens` tokens."""
    return [_optimised(Path(folder) / "model.onnx", level, threads, tokens, runs) for level in LEVELS]


def _optimised(path: Path, level: str, threads: int, tokens: int, runs: int) -> Optimised:
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[level])
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as place:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(place) / "trace")
        started = time.perf_counter()
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        loaded = time.perf_counter() - started
        feeds = _feeds(session, path.with_name("genai_config.json"), tokens)
        times = [_seconds(session, feeds) for _ in range(runs + 1)][1:]  # the first one warms up
        names = {event["name"] for event in read_trace(Path(session.end_profiling())) if event["cat"] == "Node"}
    return Optimised(level, len(names), loaded, min(times) * 1000)


def _feeds(session, facts: Path, tokens: int) -> dict[str, Any]:
    """A prompt of `tokens` tokens and an empty KV cache, as the graph's inputs."""
    import numpy as np
    decoder = json.loads(facts.read_text(encoding="utf-8"))["model"]["decoder"]
    empty = np.zeros((1, decoder["num_key_value_heads"], 0, decoder["head_size"]), dtype=np.float32)
    feeds = {"input_ids": np.arange(100, 100 + tokens, dtype=np.int64)[None],
             "attention_mask": np.ones((1, tokens), dtype=np.int64)}
    return feeds | {needed.name: empty for needed in session.get_inputs() if needed.name.startswith("past_key_values")}


def _seconds(session, feeds: dict[str, Any]) -> float:
    started = time.perf_counter()
    session.run(["logits"], feeds)
    return time.perf_counter() - started
