"""A server killed (SIGKILL) while jobs wait: how soon the next one answers, and whether each job is done once."""
from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from labkit.errors import LabkitError
from labkit.profiling import marked
from labkit.profiling.served import serving

JOBS = 6
LONGEST_S = 120  # for all of them


@dataclass(frozen=True)
class Kill:
    """jobs: accepted. before: of them done before the kill. done: in the end. again: done before, and once more after.

    back_s: from the start of the next process to its first good answer. crossed: results of another job.
    """

    jobs: int
    before: int
    done: int
    again: int
    crossed: int
    back_s: float


def run(path: Path) -> Kill:
    """Two servers, one after the other, with the jobs of one file."""
    with serving("--jobs", str(path)) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ids = [client.post("/jobs", json=marked.body(f"job-{n}")).json()["id"] for n in range(JOBS)]
        _until(lambda: _jobs(client, ids)[0]["state"] == "done")
        before = {job["id"]: job for job in _jobs(client, ids) if job["state"] == "done"}
        server.process.kill()
        server.process.wait()
    began = time.perf_counter()
    with serving("--jobs", str(path)) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hello"}],
                                                  "max_tokens": 4}).raise_for_status()
        back_s = time.perf_counter() - began
        _until(lambda: all(job["state"] in ("done", "failed") for job in _jobs(client, ids)))
        after = _jobs(client, ids)
    again = sum(job != before[job["id"]] for job in after if job["id"] in before)
    crossed = sum(job["state"] == "done" and not marked.own(job["result"], f"job-{n}") for n, job in enumerate(after))
    return Kill(JOBS, len(before), sum(job["state"] == "done" for job in after), again, crossed, back_s)


def _jobs(client: httpx.Client, ids: list[str]) -> list[dict[str, Any]]:
    return [client.get(f"/jobs/{id}").json() for id in ids]


def _until(true) -> None:
    end = time.monotonic() + LONGEST_S
    while not true():
        if time.monotonic() > end:
            raise LabkitError(f"The jobs were not done within {LONGEST_S} s.")
        time.sleep(0.05)
