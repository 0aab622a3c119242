"""A person's yes before what cannot be undone. No answer, a late answer, or anything but True is a no.

`approve` is any callable `(tool, arguments, why) → True`. `console` asks in the terminal. `Pending` is for a service:
the call waits under an id until somebody decides.
"""
from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import BadRequest
from labkit.safety.refusal import Refused

Approve = Callable[[str, dict[str, Any], str], bool]
WAIT_S = 60.0


def ask(approve: Approve | None, tool: str, arguments: Mapping[str, Any], why: str, wait_s: float = WAIT_S) -> None:
    """Raise Refused unless `approve` says True within wait_s. What it says later is not heard."""
    if approve is None:
        raise Refused("approval", f"{tool} needs a person's yes, and nobody is there to give it.", tool)
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(_answer(approve, tool, dict(arguments), why)), daemon=True)
    asking.start()
    asking.join(wait_s)
    answer = answers[0] if answers else f"nobody answered within {wait_s:g} s"
    if answer is not True:
        reason = answer if isinstance(answer, str) and answer else "the answer was no"
        raise Refused("approval", f"{tool} was not approved: {reason}.", tool)


def _answer(approve: Approve, tool: str, arguments: dict[str, Any], why: str) -> Any:
    try:
        return approve(tool, arguments, why)
    except Exception as error:
        return f"asking failed ({type(error).__name__})"


def console(tool: str, arguments: Mapping[str, Any], why: str) -> bool:
    """Ask in the terminal or the notebook; only "yes" is a yes."""
    return input(f"{why}\nRun {tool}({_shown(arguments)})? Type yes: ").strip().casefold() == "yes"


@dataclass
class Question:
    """One call that waits. at: seconds since 1970. by: who decided."""

    tool: str
    arguments: dict[str, Any]
    why: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: float = field(default_factory=time.time)
    decided: bool | None = None
    by: str = ""

    def __str__(self) -> str:
        return f"{self.id[:8]}  {self.tool}({_shown(self.arguments)})  {self.why}"


class Pending:
    """Approvals of a service: `pending` is given as approve=, `waiting()` lists, `decide(id, …)` answers.

    wait_s: how long a call waits. The one who decides must be somebody else than the one who asks, where `may` says so:
    may(by, question) → whether `by` may decide it.
    """

    def __init__(self, wait_s: float = WAIT_S, may: Callable[[str, Question], bool] = lambda by, question: True):
        self.wait_s, self.may = wait_s, may
        self._questions: dict[str, Question] = {}
        self._changed = threading.Condition()

    def __call__(self, tool: str, arguments: dict[str, Any], why: str) -> bool:
        question = Question(tool, arguments, why)
        with self._changed:
            self._questions[question.id] = question
            self._changed.notify_all()
            self._changed.wait_for(lambda: question.decided is not None, self.wait_s)
            del self._questions[question.id]
            return question.decided is True

    def waiting(self) -> list[Question]:
        """The calls that wait now, the oldest first."""
        with self._changed:
            return [question for question in self._questions.values() if question.decided is None]

    def decide(self, id: str, yes: bool, by: str) -> None:
        """Answer one. Raises BadRequest for an id that waits no more (decided, timed out, or never there)."""
        with self._changed:
            question = self._questions.get(id)
            if question is None or question.decided is not None:
                raise BadRequest(f"No call waits under {id!r}: it was decided, or its time is over.")
            if not self.may(by, question):
                raise Refused("approval", f"{by} may not decide this.", question.tool)
            question.decided, question.by = yes is True, by
            self._changed.notify_all()


def _shown(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in arguments.items())
