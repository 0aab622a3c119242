"""One runtime's line in the league table, measured in a process that does nothing else.

    python -m labkit.profiling.league_entry NAME [--cases N] [--answer-tokens N]

prints it as JSON. The process is new, so that the load time includes every import and the memory is
this runtime's alone: this process and the servers it started, as the system counts resident pages.
"""
from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from labkit.backends.base import Capabilities
from labkit.errors import IncompleteOutput
from labkit.profiling import tool_requests

CLIENTS = (1, 4, 16)
TOPICS = ("the sea", "bread", "trains", "the moon", "winter", "bees", "music", "paper", "rivers", "clocks",
          "salt", "gardens", "maps", "glass", "sleep", "colours")


@dataclass(frozen=True)
class Entry:
    """load_s: from nothing to the first answer's first token; ttft_s: median of one client's requests.

    tokens_per_s: answers' tokens of all clients together per second, by number of clients.
    rss_bytes: after the work, with its servers. right, cases: tool calls on the course's own requests.
    answer_tokens: of each answer at most; where they are few, reading the prompts is much of the work.
    """

    name: str
    model: str
    load_s: float
    ttft_s: float
    tokens_per_s: dict[int, float]
    rss_bytes: int
    right: int
    cases: int
    capabilities: dict[str, Any]
    answer_tokens: int


def measure(name: str, *, cases: int = 20, answer_tokens: int = 32) -> Entry:
    """Connect, answer, serve 1, 4 and 16 clients, and call tools."""
    started = time.perf_counter()
    from labkit import connect
    slm = connect(name)
    try:
        first = slm.chat(f"Tell me about {TOPICS[-1]}.", max_tokens=2)
        load_s = time.perf_counter() - started - first.timing.total_s + first.timing.ttft_s
        _clients(slm, 1, 8)  # warm
        rates, ttfts = {}, []
        for clients in CLIENTS:
            rates[clients], times = _clients(slm, clients, answer_tokens)
            ttfts += times if clients == 1 else []
        right, asked = _tool_calls(slm, cases)
        return Entry(name, slm.model, load_s, statistics.median(ttfts), rates, resident_bytes(), right, asked,
                     _found(slm.capabilities), answer_tokens)
    finally:
        slm.close()


def _clients(slm, clients: int, answer_tokens: int, requests: int = 3) -> tuple[float, list[float]]:
    """(tokens/s of all, times to first token) of clients that each ask a few questions one after the other."""
    replies: list = []

    def ask(topic: str) -> None:
        for i in range(requests if clients == 1 else 1):
            replies.append(slm.chat(f"Tell me about {topic}{'.' * (i + 1)}", max_tokens=answer_tokens))
    threads = [threading.Thread(target=ask, args=(topic,)) for topic in TOPICS[:clients]]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    if len(replies) != len(threads) * (requests if clients == 1 else 1):
        raise RuntimeError(f"{clients} clients: {len(replies)} answers came back.")
    return sum(reply.usage.completion_tokens for reply in replies) / wall, [r.timing.ttft_s for r in replies]


def _tool_calls(slm, cases: int) -> tuple[int, int]:
    """(right, asked) of requests that need one call, the tool left to the model."""
    items = [item for item in tool_requests.load("dev") if item.kind == "one"][:cases]
    right = 0
    for item in items:
        try:
            calls = slm.chat(item.request, tools=item.tools, tool_choice="required").tool_calls
        except IncompleteOutput:  # a runtime that cannot be held to the schema may fail, and that counts
            calls = []
        right += tool_requests.score(item, calls)
    return right, len(items)


def _found(capabilities: Capabilities) -> dict[str, Any]:
    return {**asdict(capabilities), "constraints": sorted(capabilities.constraints)}


def resident_bytes() -> int:
    """Resident bytes of this process and its children, the servers among them."""
    import psutil
    here = psutil.Process()
    total = 0
    for process in [here, *here.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--answer-tokens", type=int, default=32)
    given = parser.parse_args()
    print(json.dumps(asdict(measure(given.name, cases=given.cases, answer_tokens=given.answer_tokens))))


if __name__ == "__main__":
    main()
