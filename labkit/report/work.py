"""The agent at its work: every scenario once, on the real model, with what it took."""
from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labkit.agents.run import Run
from labkit.backends.reply import Reply, Usage
from labkit.errors import LabkitError
from labkit.profiling.measure import Profile, profile
from labkit.report.scenarios import Verdict
from labkit.report.subjects import Subject, kind_of

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes next


class Watched:
    """A model (or a router), and the answers that it gave. Stands where a model stands."""

    def __init__(self, slm: Any):
        self._slm, self.replies = slm, []

    def chat(self, conversation: Any, **options: Any) -> Reply:
        self.replies.append(self._slm.chat(conversation, **options))
        return self.replies[-1]

    def stream(self, conversation: Any, **options: Any) -> WatchedStream:
        return WatchedStream(self._slm.stream(conversation, **options), self.replies)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slm, name)


class WatchedStream:
    """An answer as it comes; when it is asked for as a whole, it is among the replies."""

    def __init__(self, stream: Any, replies: list[Reply]):
        self._stream, self._replies, self._whole = stream, replies, None

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __enter__(self) -> WatchedStream:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stream.__exit__(*raised)

    def stop(self) -> None:
        self._stream.stop()

    @property
    def reply(self) -> Reply:
        if self._whole is None:
            self._whole = self._stream.reply
            self._replies.append(self._whole)
        return self._whole


@dataclass(frozen=True)
class Outcome:
    """One scenario. ttft_s: from the request to the first token of the model; 0 where none came."""

    request: str
    kind: str
    passed: bool
    tools_right: bool
    why: str
    called: tuple[str, ...]
    answer: str
    seconds: float
    ttft_s: float
    usage: Usage


@dataclass(frozen=True)
class Work:
    """All of them, and what the process took meanwhile."""

    outcomes: Sequence[Outcome]
    profile: Profile


def run(subject: Subject, wanted: Sequence[Any], on_step: Progress = lambda *_: None) -> Work:
    """Do the scenarios, one after the other. A scenario that ends in an error is one that failed, with its reason."""
    warm(subject, wanted[0])
    outcomes = []
    with profile() as measured:
        for done, scenario in enumerate(wanted):
            on_step(done, len(wanted), scenario.request)
            outcomes.append(_outcome(subject, scenario))
    return Work(outcomes, measured)


def warm(subject: Subject, scenario: Any) -> None:
    """The first answer also reads the weights and the tools: nobody waits for that twice."""
    with subject.begin(scenario, subject.slm) as ready, suppress(Exception):  # it will fail again, and be told
        ready.agent.run("Hello")


def attempt(agent: Any, scenario: Any) -> tuple[Run, str]:
    """(what the agent did, what went wrong or ""). An agent that gives up has still done something."""
    try:
        return _run(agent, scenario.request, getattr(scenario, "documents", ())), ""
    except LabkitError as error:
        return getattr(error, "run", None) or Run([], finish_reason="error"), str(error)
    except Exception as error:  # whatever a learner's own agent raises
        return Run([], finish_reason="error"), f"{type(error).__name__}: {error}"


def _run(agent: Any, request: str, documents: Sequence[str]) -> Run:
    """With its documents: a guarded agent is told which text is whose, another one reads it all as one message."""
    if "documents" in inspect.signature(agent.run).parameters:
        return agent.run(request, documents=documents)
    return agent.run("\n\n".join([request, *documents]))


def _outcome(subject: Subject, scenario: Any) -> Outcome:
    watched = Watched(subject.slm)
    with subject.begin(scenario, watched) as ready:
        began = time.perf_counter()
        done, error = attempt(ready.agent, scenario)
        seconds = time.perf_counter() - began
        verdict = ready.judge(done)
        if error and not verdict.passed:
            verdict = Verdict(False, error)
        return Outcome(scenario.request, kind_of(scenario), verdict.passed, verdict.passed or ready.right(done),
                       verdict.why, tuple(map(str, done.calls)), done.text, seconds,
                       watched.replies[0].timing.ttft_s if watched.replies else 0.0,
                       sum((reply.usage for reply in watched.replies), Usage()))
