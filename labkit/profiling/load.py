"""What becomes of the service under twice the load that it can take, and when its process is killed.

A real `labkit serve` in a process of its own; this one is the clients. First the capacity is measured: as many clients
as the server serves at once, each asking again when it has its answer. Then a server whose queue holds what can be
answered in a third of the deadline gets requests at twice that pace, at random moments, whoever is still waiting. Each
answer is checked to be its own, see marked.
"""
from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from labkit.errors import LabkitError
from labkit.models.hardware import machine
from labkit.profiling import kill, marked, serving
from labkit.profiling.served import Served
from labkit.profiling.served import serving as started
from labkit.table import Shown, Table

AT_ONCE, DEADLINE_S = 4, 30.0
USERS = 8        # one client may have half of the queue
LOOK_S = 0.5     # between two looks at the queue and the memory
TIMES = 2        # the load, in capacities
PATIENCE_S = 60  # of a client; whoever has no answer then is lost


@dataclass(frozen=True)
class Answer:
    """What one request came to. status 0: nothing came back. own: it is the answer to this request, and not another's.

    polite: a refusal says when to ask again.
    """

    status: int
    seconds: float
    own: bool
    polite: bool


@dataclass(frozen=True)
class Overload:
    """Times in seconds, memory in bytes, paces in requests a second."""

    seconds: float
    capacity: float
    offered: float
    asked: int
    answered: int
    refused: int
    late: int       # 504
    other: int      # any other status
    impolite: int   # refusals without Retry-After
    lost: int
    crossed: int
    p50_s: float    # of what was answered
    p99_s: float
    refused_p99_s: float
    places: int     # in the queue
    most_waiting: int
    rss_start: int
    rss_end: int


@dataclass(frozen=True)
class Load(Shown):
    """What was measured, and where."""

    overhead: serving.Overhead
    overload: Overload
    kill: kill.Kill
    machine: dict[str, Any]

    @property
    def kept(self) -> dict[str, bool]:
        """The promises, and whether each was kept."""
        o, k = self.overload, self.kill
        return {"the queue is bounded": o.most_waiting <= o.places,
                "99 % in time": o.late <= (o.answered + o.late) / 100,
                "refused politely": o.impolite == o.other == 0, "nothing lost": o.lost == 0,
                "nothing crossed": o.crossed == k.crossed == 0, "memory flat": o.rss_end <= 1.1 * o.rss_start,
                "jobs done once": k.done == k.jobs and k.again == 0}

    def table(self) -> Table:
        o, k = self.overload, self.kill
        added = [(f"added to a request, {r.clients} clients", f"{r.outside_model_ms[0]:.1f}, "
                  f"{r.outside_model_ms[1]:.1f}", "ms, p50 and p99") for r in self.overhead.results]
        rows = [*added, ("capacity", f"{o.capacity:.1f}", "answers/s"),
                ("offered", f"{o.offered:.1f}", f"requests/s for {o.seconds:.0f} s"), ("asked", str(o.asked), ""),
                ("answered", str(o.answered), f"{o.answered / o.seconds:.1f} a second"),
                ("their latency", f"{o.p50_s:.2f}, {o.p99_s:.2f}", f"s, p50 and p99; deadline {DEADLINE_S:g}"),
                ("refused with 503 or 429", str(o.refused), f"{o.impolite} without Retry-After"),
                ("until they were refused", f"{o.refused_p99_s:.2f}", "s, p99"),
                ("too late (504), other", f"{o.late}, {o.other}", ""),
                ("lost, crossed", f"{o.lost}, {o.crossed}", ""),
                ("longest queue", str(o.most_waiting), f"of {o.places} places"),
                ("memory, start and end", f"{o.rss_start / 1e6:.0f}, {o.rss_end / 1e6:.0f}", "MB"),
                ("killed: first good answer", f"{k.back_s:.2f}", "s after the restart began"),
                ("killed: jobs done", f"{k.done} of {k.jobs}", f"{k.before} before, {k.again} twice"),
                *((promise, "kept" if held else "BROKEN", "") for promise, held in self.kept.items())]
        cpu = self.machine.get("cpu", "")
        return Table(("what", "value", "unit"), tuple(rows), f"labkit serve at {TIMES} times its capacity",
                     f"{AT_ONCE} at once. Added: outside the model. {cpu}")

    def to_dict(self) -> dict[str, Any]:
        overload = {name: None if value != value else value for name, value in asdict(self.overload).items()}
        return {"overhead": self.overhead.to_dict(), "overload": overload, "kill": asdict(self.kill),
                "kept": self.kept, "machine": self.machine}


def run(seconds: float = 60.0, rounds: int = 20, progress: Callable[[int, int, str], None] | None = None) -> Load:
    """Measure with the embedded model. seconds: of the overload. rounds: of the overhead, as in serving.run."""
    def say(i: int, what: str) -> None:
        if progress:
            progress(i, 3, what)
    say(0, "overhead")
    overhead = serving.run(rounds=rounds)
    say(1, f"twice the capacity, {seconds:.0f} s")
    overload = _overload(seconds)
    say(2, "kill -9")
    with tempfile.TemporaryDirectory() as folder:
        killed = kill.run(Path(folder) / "jobs.sqlite")
    return Load(overhead, overload, killed, asdict(machine()))


def _overload(seconds: float) -> Overload:
    limits = ("--at-once", str(AT_ONCE), "--deadline", str(DEADLINE_S))
    with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop already
        with started(*limits) as server:
            capacity = thread.submit(asyncio.run, _capacity(server, min(10.0, max(seconds / 6, 2.0)))).result()
        places = max(AT_ONCE, round(capacity * DEADLINE_S / 3))  # the rest is for unevenness
        with started(*limits, "--waiting", str(places)) as server:
            answers, looks = thread.submit(asyncio.run, _overloaded(server, TIMES * capacity, seconds)).result()
    return _counted(answers, looks, capacity, places, seconds)


def _client(server: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_S, limits=httpx.Limits(max_connections=None))


async def _overloaded(server: Served, pace: float, seconds: float) -> tuple[list[Answer], list[tuple[int, int]]]:
    """What came of the requests, and of the looks at the server meanwhile."""
    looks: list[tuple[int, int]] = []
    async with _client(server) as client:
        await asyncio.gather(*(ask(client, f"warm-{user}", user) for user in range(AT_ONCE)))
        watch = asyncio.create_task(_watch(client, psutil.Process(server.process.pid), looks))
        try:
            return await _arrivals(client, pace, seconds), looks
        finally:
            watch.cancel()


async def _capacity(server: Served, seconds: float) -> float:
    """Answers a second with as many clients as are served at once. The first answer of each warms up."""
    async def ask_on(user: int, until: float) -> int:
        answered = 0
        while not answered or time.perf_counter() < until:
            if (await ask(client, f"capacity-{user}-{answered}", user)).status != 200:
                raise LabkitError("The server does not answer even as many clients as it can serve at once.")
            answered += 1
        return answered
    async with _client(server) as client:
        await asyncio.gather(*(ask_on(user, 0.0) for user in range(AT_ONCE)))
        began = time.perf_counter()
        answered = sum(await asyncio.gather(*(ask_on(user, began + seconds) for user in range(AT_ONCE))))
        return answered / (time.perf_counter() - began)


async def _arrivals(client: httpx.AsyncClient, pace: float, seconds: float) -> list[Answer]:
    """Requests at random moments, `pace` a second on average (a Poisson process), and what came of all of them."""
    dice, at, tasks = random.Random(0), 0.0, []
    began = time.perf_counter()
    while (at := at + dice.expovariate(pace)) < seconds:
        await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
        n = len(tasks)
        tasks.append(asyncio.create_task(ask(client, f"marker-{n}-{dice.getrandbits(32):08x}", n % USERS)))
    return await asyncio.gather(*tasks)


async def ask(client: httpx.AsyncClient, marker: str, user: int) -> Answer:
    """One request whose answer can only be its own marker."""
    began = time.perf_counter()
    try:
        told = await client.post("/v1/chat/completions", json=marked.body(marker, f"client {user}"),
                                 headers={"x-request-id": marker})
        answer = told.json()
    except (httpx.HTTPError, ValueError):
        return Answer(0, time.perf_counter() - began, True, True)
    own = told.headers.get("x-request-id") == marker and (told.status_code != 200 or marked.own(answer, marker))
    return Answer(told.status_code, time.perf_counter() - began, own, "retry-after" in told.headers)


async def _watch(client: httpx.AsyncClient, process: psutil.Process, looks: list[tuple[int, int]]) -> None:
    """Note how many wait, and the server's resident bytes, until cancelled."""
    while True:
        lines = (await client.get("/metrics")).text.splitlines()
        waiting = next(line for line in lines if line.startswith("labkit_requests_waiting "))
        looks.append((int(float(waiting.split()[1])), process.memory_info().rss))
        await asyncio.sleep(LOOK_S)


def _counted(answers: Sequence[Answer], looks: Sequence[tuple[int, int]], capacity: float, places: int,
             seconds: float) -> Overload:
    by = Counter(answer.status for answer in answers)
    refused = [answer for answer in answers if answer.status in (429, 503)]
    times = [answer.seconds for answer in answers if answer.status == 200]
    rss, tenth = [resident for _, resident in looks], max(len(looks) // 10, 1)
    return Overload(
        seconds, capacity, offered=len(answers) / seconds, asked=len(answers), answered=by[200], refused=len(refused),
        late=by[504], other=len(answers) - sum(by[status] for status in (0, 200, 429, 503, 504)),
        impolite=sum(not answer.polite for answer in refused), lost=by[0],
        crossed=sum(not answer.own for answer in answers), p50_s=_percentile(times, 50), p99_s=_percentile(times, 99),
        refused_p99_s=_percentile([answer.seconds for answer in refused], 99),
        places=places, most_waiting=max(waiting for waiting, _ in looks), rss_start=int(statistics.median(rss[:tenth])),
        rss_end=int(statistics.median(rss[-tenth:])))


def _percentile(values: Sequence[float], percent: float) -> float:
    """Not a number for no values."""
    import numpy as np
    return float(np.percentile(values, percent)) if values else float("nan")
