"""What labkit's connectors add to the time to first token, over each runtime's own client.

Same process, same loaded model or server, same questions, in alternating pairs; reported is the median
of the differences, so that whatever else the machine does meets both sides. The runtime's own client is
the official `openai` or `ollama` package for servers, onnxruntime-genai and foundry-local-sdk for the
two in this process. llama.cpp in this process has a comparison of its own: `labkit.profiling.compare`.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from labkit.errors import LabkitError
from labkit.profiling.served import served
from labkit.table import Shown, Table

PAIRS = 20
TARGET_MS = 2.0
TOPICS = ("rivers", "clocks", "bread", "bees", "paper", "bridges", "salt", "maps", "tea", "trains", "owls",
          "glass", "kites", "forests", "cotton", "harbours", "glaciers", "windmills", "volcanoes", "libraries")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Added:
    """Times to first token (s) of one runtime: with its own client, with labkit, and the differences in pairs."""

    name: str
    client: str
    own_s: tuple[float, ...]
    labkit_s: tuple[float, ...]

    @property
    def added_ms(self) -> float:
        """Median difference within the pairs."""
        return 1000 * statistics.median(b - a for a, b in zip(self.own_s, self.labkit_s, strict=True))


@dataclass(frozen=True)
class Connectors(Shown):
    """Every connector that could be measured here."""

    results: tuple[Added, ...]
    left_out: dict[str, str]

    def table(self) -> Table:
        rows = tuple((r.name, r.client, *(f"{1000 * statistics.median(side):.1f}" for side in (r.own_s, r.labkit_s)),
                      f"{r.added_ms:+.2f}", f"{TARGET_MS:g}") for r in self.results)
        note = [f"Medians of {PAIRS} alternating pairs.",
                *(f"Not here: {name} ({why})" for name, why in self.left_out.items())]
        return Table(("runtime", "its own client", "own, ms", "labkit, ms", "added, ms", "target"), rows,
                     "Time to first token, what a connector adds", "\n".join(note))

    def to_dict(self) -> dict[str, Any]:
        return {"results": [{**asdict(r), "added_ms": r.added_ms} for r in self.results], "left_out": self.left_out}


def run(names: list[str] | None = None, progress: Progress | None = None) -> Connectors:
    """Measure every connector that is usable here; `openai` and `ollama` against `labkit serve`."""
    results, left_out = [], {}
    chosen = names or list(OWN)
    for i, name in enumerate(chosen):
        if progress:
            progress(i, len(chosen), name)
        try:
            with _connected(name) as slm:
                results.append(_compare(name, slm))
        except LabkitError as error:
            left_out[name] = str(error)
    return Connectors(tuple(results), left_out)


def _compare(name: str, slm) -> Added:
    client, first_token = OWN[name]
    own, ours = [], []
    for i, topic in enumerate(("warming up", *TOPICS)):
        messages = [{"role": "user", "content": f"Tell me about {topic}."}]
        sides = [(own, lambda messages=messages: first_token(slm.backend, messages)),
                 (ours, lambda messages=messages: slm.chat(messages, max_tokens=2).timing.ttft_s)]
        for times, ask in sides if i % 2 else reversed(sides):
            ask()  # so that both sides find the prompt as the other left it
            times.append(ask())
    return Added(name, client, tuple(own[1:]), tuple(ours[1:]))


@contextmanager
def _connected(name: str) -> Iterator[Any]:
    from labkit import connect
    with ExitStack() as stack:
        settings = {}
        if name in SUFFIX:
            settings["base_url"] = stack.enter_context(served()) + SUFFIX[name]
        yield stack.enter_context(connect(name, **settings))


SUFFIX = {"openai": "/v1", "ollama": ""}  # connectors that are measured against `labkit serve`


def _openai(backend, messages) -> float:
    started = time.perf_counter()
    model = getattr(backend, "model_id", None) or backend.model
    with backend.client.chat.completions.create(model=model, messages=messages, max_tokens=2, temperature=0.0,
                                                stream=True) as stream:
        events = iter(stream)
        next(event for event in events if event.choices and event.choices[0].delta.content)
        taken = time.perf_counter() - started
        list(events)  # to its end, as labkit does: after one that was broken off, a server has something to tidy up
    return taken


def _ollama(backend, messages) -> float:
    started = time.perf_counter()
    stream = backend.client.chat(backend.model, messages, stream=True, options={"num_predict": 2, "temperature": 0})
    next(part for part in stream if part.message.content)
    taken = time.perf_counter() - started
    list(stream)
    return taken


def _genai(backend, messages) -> float:
    import json
    runtime = backend.runtime
    started = time.perf_counter()
    text = runtime.tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True)
    tokens = runtime.tokenizer.encode(text)
    generator = runtime.generator(len(tokens) + 2, do_sample=False)
    generator.append_tokens(tokens)
    generator.generate_next_token()
    runtime.tokenizer.create_stream().decode(generator.get_next_tokens()[0])
    return time.perf_counter() - started


def _foundry(backend, messages) -> float:
    from foundry_local_sdk import ChatSession, MessageItem, Request, RequestOptions, SearchOptions
    started = time.perf_counter()
    with ChatSession(backend.loaded) as session, Request() as asked:
        session.set_streaming(True)
        item = MessageItem.user(messages[0]["content"])
        asked.add_item(item)
        asked.set_options(RequestOptions(SearchOptions(temperature=0.0, max_output_tokens=2)))
        with session.process_streaming_request(asked) as stream:
            items = iter(stream)
            next(items)
            taken = time.perf_counter() - started
            list(items)
    return taken


OWN: dict[str, tuple[str, Callable[[Any, list], float]]] = {
    "llama.cpp-server": ("openai", _openai), "onnx": ("onnxruntime-genai", _genai),
    "foundry-local": ("foundry-local-sdk", _foundry), "vllm": ("openai", _openai), "mlx": ("openai", _openai),
    "openai": ("openai", _openai), "ollama": ("ollama", _ollama),
}
