"""The model's process is killed (kill -9) and started again: what the agent's user sees, and for how long."""
from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from labkit.agents.run import Run
from labkit.backends.registry import connect
from labkit.errors import LabkitError
from labkit.profiling.served import serving
from labkit.report.subjects import Subject
from labkit.report.work import attempt

LONGEST_S = 60.0  # for the first good answer


def run(subject: Subject, scenarios: Sequence[Any]) -> dict[str, Any]:
    """`labkit serve` in a process of its own is killed between two requests.

    A good answer is the one that was given before: the same calls with the same values, and the same words.
    back_s: from the kill to the first good answer, with the time that the new process takes to start.
    Raises LabkitError when there is none within a minute.
    """
    scenario = next((one for one in scenarios if one.calls), scenarios[0])
    with serving() as server:
        slm = connect("openai", base_url=f"{server.url}/v1", retries=0)
        before, _ = _ask(subject, scenario, slm)
        server.process.kill()
        server.process.wait()
    killed = time.perf_counter()
    _, told = _ask(subject, scenario, slm)
    told_s = time.perf_counter() - killed
    with serving("--port", server.url.rpartition(":")[2]):
        started_s = time.perf_counter() - killed
        while _said(_ask(subject, scenario, slm)[0]) != _said(before):
            if time.perf_counter() - killed > LONGEST_S:
                raise LabkitError(f"There was no good answer within {LONGEST_S:g} s after the crash.")
        back_s = time.perf_counter() - killed
    return {"request": scenario.request, "answer": before.text, "told": told, "told_s": told_s,
            "started_s": started_s, "back_s": back_s}


def _ask(subject: Subject, scenario: Any, slm: Any) -> tuple[Run, str]:
    with subject.begin(scenario, slm) as ready:
        return attempt(ready.agent, scenario)


def _said(run: Run) -> tuple[Any, ...]:
    return run.text, tuple(run.calls)
