"""What the service adds to a request, over the backend called directly.

One run, in turns: a round of direct calls in this process, then a round of the same calls over HTTP to
`labkit serve` in a process of its own, and so on, so that whatever else the machine does meets both.

Two figures say what was added. The difference of the two latencies is the plain one, and carries the
noise of two times 16 answers. Outside the model is the client's time for a request less the time that
the backend took within it, by the server's own clock: HTTP, JSON, threads and queues, request by request.
"""
from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from labkit.profiling.served import served
from labkit.table import Shown, Table

TARGET_MS = {1: 3.0, 16: 10.0}  # at the 99th percentile
_TOKENS = 4
_QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass(frozen=True)
class Added:
    """Latencies (ms) of one number of clients, at the 50th and 99th percentile."""

    clients: int
    requests: int
    direct_ms: tuple[float, float]
    served_ms: tuple[float, float]
    outside_model_ms: tuple[float, float]

    @property
    def added_ms(self) -> tuple[float, float]:
        return tuple(b - a for a, b in zip(self.direct_ms, self.served_ms, strict=True))


@dataclass(frozen=True)
class Overhead(Shown):
    """What `labkit serve` adds, for each number of clients."""

    results: tuple[Added, ...]

    def table(self) -> Table:
        rows = tuple((f"{r.clients}, {name}", *(f"{values[i]:.1f}" for values in (
            r.direct_ms, r.served_ms, r.added_ms, r.outside_model_ms)), f"{TARGET_MS[r.clients]:g}" if i else "")
            for r in self.results for i, name in enumerate(("p50", "p99")))
        return Table(("clients", "direct ms", "served ms", "added ms", "outside the model ms", "target ms"), rows,
                     "What labkit serve adds to a request",
                     f"{_TOKENS} tokens an answer; {' and '.join(str(r.requests) for r in self.results)} requests each "
                     "way, in turns. Outside the model: HTTP, JSON, threads and queues.")

    def to_dict(self) -> dict:
        return {"results": [{**asdict(r), "added_ms": r.added_ms} for r in self.results]}


def run(clients: Sequence[int] = (1, 16), rounds: int = 20, each: int = 10,
        progress: Callable[[int, int, str], None] | None = None) -> Overhead:
    """Measure with the embedded model. each: requests of every client in a round (at 1 client; a fifth at more)."""
    from labkit import connect

    def compare(i: int, n: int) -> Added:
        if progress:
            progress(i, len(clients), f"{n} clients")
        return _compare(n, direct, url, rounds, each if n == 1 else max(each // 5, 1))
    with connect() as slm, served() as url:
        def direct() -> float:
            slm.chat(_QUESTION, max_tokens=_TOKENS)
            return 0.0
        return Overhead(tuple(compare(i, n) for i, n in enumerate(clients)))


def _compare(clients: int, direct: Callable[[], float], url: str, rounds: int, each: int) -> Added:
    """`rounds` times: all clients directly, then all over HTTP. The first round warms both, and is dropped."""
    direct_s, served_s, outside_s = [], [], []
    with closing(_Callers(url, clients)) as callers:
        for i in range(rounds + 1):
            plain = _round(clients, each, lambda _: direct())
            served = _round(clients, each, callers.ask)
            if i:
                direct_s += [spent for spent, _ in plain]
                served_s += [spent for spent, _ in served]
                outside_s += [spent - own for spent, own in served]
    return Added(clients, len(served_s), *map(_percentiles, (direct_s, served_s, outside_s)))


def _round(clients: int, each: int, call: Callable[[int], float]) -> list[tuple[float, float]]:
    """(seconds, what `call` returned) of every request, `clients` at a time."""
    start = threading.Barrier(clients)

    def work(client: int) -> list[tuple[float, float]]:
        start.wait()
        return [timed(client) for _ in range(each)]

    def timed(client: int) -> tuple[float, float]:
        began = time.perf_counter()
        own = call(client)
        return time.perf_counter() - began, own

    with ThreadPoolExecutor(clients) as pool:
        return [one for found in pool.map(work, range(clients)) for one in found]


class _Callers:
    """A kept-alive connection for every client; a plain one, because a client library's time is not the server's."""

    def __init__(self, url: str, clients: int):
        parts = urlsplit(url)
        self._connections = [http.client.HTTPConnection(parts.hostname, parts.port, timeout=60) for _ in range(clients)]
        self._body = json.dumps({"model": "", "messages": _QUESTION, "stream": False,
                                 "options": {"num_predict": _TOKENS}})

    def ask(self, client: int) -> float:
        """One request; how long (s) the backend took for it, by the server's clock."""
        connection = self._connections[client]
        connection.request("POST", "/api/chat", self._body)
        told = json.loads(connection.getresponse().read())
        return (told["prompt_eval_duration"] + told["eval_duration"]) / 1e9

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    import numpy as np
    return tuple(float(p) for p in np.percentile(np.array(seconds) * 1000, (50, 99)))
