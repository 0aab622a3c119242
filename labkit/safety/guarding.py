"""An agent behind its guards: `guard(agent, …)` gives something with the same `.run(task)`.

Each run gets a copy of the agent whose tools are wrapped: before a tool's function runs, the wrapper asks every layer
that is on, and a Refused from one of them is what the model gets instead of a result.
"""
from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import inspect
import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import BadRequest, ToolError
from labkit.safety import approval, inputs
from labkit.safety.inputs import InputLimits
from labkit.safety.refusal import Refused
from labkit.safety.roles import Role
from labkit.safety.taint import Taint, text_of
from labkit.safety.user import Unauthorised, User

ANYBODY = User("anybody")
TAINT, TAINT_BY = ("block", "ask"), ("context", "values")


@dataclass
class Notes:
    """What the guard did in one run. redacted: {kind: how often}. asked: calls that a person was asked about."""

    refused: list[Refused] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    redacted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """All that was switched on; see guard()."""

    writes: frozenset[str]
    irreversible: frozenset[str]
    role: Role | None
    user: User
    approve: approval.Approve | None
    wait_s: float
    check_input: InputLimits | None
    taint: str | None
    taint_by: str
    trusted: frozenset[str]
    redact: Collection[str]
    names: tuple[str, ...]
    audit: Any
    mode: Any
    purpose: str
    records: Any
    offline: bool


def guard(agent: Any, *, writes: Collection[str] = (), irreversible: Collection[str] = (), role: Role | None = None,
          user: User | str = ANYBODY, approve: approval.Approve | None = None, wait_s: float = approval.WAIT_S,
          check_input: InputLimits | bool = False, taint: str | None = None, taint_by: str = "context",
          trusted: Collection[str] = (), redact: bool | Collection[str] = False, names: Collection[str] = (),
          audit: Any = None, mode: Any = None, purpose: str = "", records: Any = None,
          offline: bool = False) -> GuardedAgent:
    """Put an agent behind the layers that are given.

    writes, irreversible: names of tools that change something, and of those whose effect stays (they are writes too).
    approve: asked before a call of an irreversible tool; without it nobody is asked. taint="ask" asks it as well.
    wait_s: how long a person is waited for. trusted: tools whose results hold no text that a stranger wrote.
    taint_by: see labkit.safety.taint. redact: True, or the kinds to take out (labkit.safety.redaction.KINDS).
    names: persons' names that are known here, to be redacted wherever they stand.
    mode, purpose: a Mode, and one of its purposes. records: a Records, where the runs of a user are kept.
    Raises BadRequest for names of tools that the agent does not have, and for rules that contradict each other.
    """
    from labkit.safety.redaction import KINDS
    if taint not in (None, *TAINT) or taint_by not in TAINT_BY:
        raise BadRequest(f"taint={taint!r}, taint_by={taint_by!r}: use one of {TAINT}, and one of {TAINT_BY}.")
    there = {tool.name for tool in agent.tools}
    if unknown := {*writes, *irreversible, *trusted} - there:
        raise BadRequest(f"The agent has no tool {sorted(unknown)[0]!r}. It has: {', '.join(sorted(there))}.")
    if mode is not None:
        mode.fields(purpose)  # raises for a purpose that it does not have
    limits = InputLimits() if check_input is True else check_input or None
    kinds = frozenset(KINDS if redact is True else redact or (mode.redact if mode else ()))
    if unknown := kinds - set(KINDS):
        raise BadRequest(f"Nothing called {sorted(unknown)[0]!r} can be redacted. Kinds: {', '.join(KINDS)}.")
    return GuardedAgent(agent, Rules(
        frozenset(writes) | frozenset(irreversible), frozenset(irreversible), role,
        User(user) if isinstance(user, str) else user, approve, wait_s, limits, taint, taint_by, frozenset(trusted),
        kinds, tuple(names), audit, mode, purpose, records, offline))


class GuardedAgent:
    """`tools`: those that the role has. Safe to run from several threads, as its agent is."""

    def __init__(self, agent: Any, rules: Rules):
        self.agent, self.rules = agent, rules
        self.tools = rules.role.allowed(agent.tools) if rules.role else list(agent.tools)

    def run(self, task: str | Sequence[Mapping[str, Any]], documents: Sequence[str] = ()) -> Any:
        """As the agent's run(). documents: texts for the model to read that the user did not write: tainted.

        The run has `.safety` (Notes), and its text says what was not done. Raises Refused for an input that is not
        let in, Unauthorised when the user's token is over, NetworkUsed with offline=True.
        """
        return _Guarded(self).run(task, documents)


class _Guarded:
    """One run: its taint, its notes, and what was done in it."""

    def __init__(self, guarded: GuardedAgent):
        self.guarded, self.rules = guarded, guarded.rules
        self.taint, self.notes = Taint(self.rules.taint_by), Notes()
        self._done: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()

    def run(self, task, documents):
        self.rules.user.check()
        messages = _conversation(task)
        self._let_in(messages, documents)
        self.taint.read(messages)
        for number, text in enumerate(documents, 1):
            self.taint.taint(text, f"document {number}")
        asked = _said(messages)
        messages = with_documents(messages, documents)
        self._log("run", task=asked, documents=len(documents))
        agent = copy.copy(self.guarded.agent)
        agent.tools = [self._wrapped(tool) for tool in self.guarded.tools]
        with self._network():
            run = self._finished(agent, messages)
        return self._told(run, asked)

    def _let_in(self, messages, documents) -> None:
        if not self.rules.check_input:
            return
        for text in (*(text_of(m) for m in messages if m.get("role") == "user"), *documents):
            try:
                inputs.check(text, self.rules.check_input)
            except Refused as refused:
                self._log("refused", layer=refused.layer, why=str(refused))
                raise

    def _network(self):
        if not self.rules.offline:
            return contextlib.nullcontext()
        from labkit.safety.network import NetworkGuard
        return NetworkGuard()

    def _finished(self, agent, messages):
        try:
            return agent.run(messages)
        except ToolError as error:
            if not self.notes.refused or not hasattr(error, "run"):
                raise
            return error.run  # what the guard stopped is an answer, not an accident

    def _told(self, run, asked: str):
        """The run with an answer that the user may see, and that is honest about what was not done."""
        text = self._clean(run.text, asked)
        for refused in reversed(self.notes.refused):
            text = text.replace(f"{refused.tool}: Refused: {refused}", f"Not done: {refused}")  # an agent's own report
            if str(refused) not in text:
                text = f"Not done: {refused}\n{text}".strip()
        run.text, run.safety = text, self.notes
        if self.notes.refused and run.finish_reason == "tool_error":
            run.finish_reason = "refused"
        self._log("answer", text=text, finish_reason=run.finish_reason)
        if self.rules.records is not None:
            self.rules.records.keep(self.rules.user.id, self.rules.purpose, {"task": asked, "answer": text})
        return run

    def _clean(self, text: str, asked: str) -> str:
        if not self.rules.redact or not text:
            return text
        from labkit.safety.redaction import redact
        cleaned = redact(text, kinds=self.rules.redact, keep=asked, known=self.rules.names)
        self.notes.redacted = dict(cleaned.counts)
        return cleaned.text

    # -- one call ----------------------------------------------------------------------------

    def _wrapped(self, tool):
        """The tool with its function behind the layers. The time a person takes is not the tool's."""
        def run(**arguments):
            return self._call(tool, arguments)
        waits = tool.name in self.rules.writes
        limit = tool.time_limit_s + (self.rules.wait_s + 1 if waits else 0)
        return dataclasses.replace(tool, function=run, time_limit_s=limit)

    def _call(self, tool, arguments: dict[str, Any]) -> Any:
        try:
            with self._one_at_a_time if tool.name in self.rules.writes else contextlib.nullcontext():
                return self._run(tool, arguments)
        except (Refused, Unauthorised) as error:
            refused = error if isinstance(error, Refused) else Refused("user", f"{tool.name}: {error}", tool.name)
            self.notes.refused.append(refused)
            self._log("refused", tool=tool.name, arguments=arguments, layer=refused.layer, why=str(refused))
            raise refused from error

    def _run(self, tool, arguments: dict[str, Any]) -> Any:
        key = f"{tool.name} {json.dumps(arguments, sort_keys=True, default=str)}"
        if key in self._done:  # a retry of what cannot be undone gets what the first one gave
            return self._done[key]
        self._may(tool, arguments)
        self._log("call", tool=tool.name, arguments=arguments)
        if tool.name in self.rules.writes and self.rules.audit is not None and self.rules.audit.trouble:
            raise Refused("audit", f"{tool.name} is not done, because it cannot be recorded: "
                          f"{self.rules.audit.trouble}", tool.name)
        result = self._result(tool, arguments)
        if tool.name in self.rules.irreversible:
            self._done[key] = result
        if self.rules.mode is not None:
            result = self.rules.mode.minimum(result, self.rules.purpose)
        if tool.name not in self.rules.trusted:
            self.taint.taint(result, f"the result of {tool.name}")
        return result

    def _result(self, tool, arguments: dict[str, Any]) -> Any:
        """What the tool gives. What it raises is read by the model, too, and may be a stranger's text."""
        try:
            result = tool(**arguments)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
        except Exception as error:
            if tool.name not in self.rules.trusted:
                self.taint.taint(str(error), f"the error of {tool.name}")
            raise

    def _may(self, tool, arguments: dict[str, Any]) -> None:
        """Raise Refused unless every layer lets the call happen."""
        rules = self.rules
        rules.user.check()
        if rules.role:
            rules.role.check(tool.name, arguments, rules.user)
        reasons = ["it cannot be undone"] if tool.name in rules.irreversible and rules.approve is not None else []
        if rules.taint and tool.name in rules.writes and (why := self.taint.why_not(arguments)):
            if rules.taint == "block":
                raise Refused("taint", f"{tool.name} was stopped: {why}.", tool.name)
            reasons.append(why)
        if reasons:
            self.notes.asked.append(tool.name)
            approval.ask(rules.approve, tool.name, arguments, "; ".join(reasons), rules.wait_s)
            rules.user.check()  # it may have taken a while

    def _log(self, what: str, **data: Any) -> None:
        if self.rules.audit is None:
            return
        from labkit.safety.redaction import redacted_values
        if self.rules.mode is not None:
            data = self.rules.mode.logged(data)
        who = self.rules.records.pseudonym(self.rules.user.id) if self.rules.records else self.rules.user.id
        self.rules.audit.append(what, who=who, **redacted_values(data))


def _said(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the user wrote."""
    return "\n".join(text_of(m) for m in messages if m.get("role") == "user")


def _conversation(task: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(task, str):
        return [{"role": "user", "content": task}]
    if not isinstance(task, Sequence) or not task or not all(isinstance(message, Mapping) for message in task):
        raise BadRequest('Give a text or a list of messages like [{"role": "user", "content": "Hello"}].')
    return [dict(message) for message in task]


def with_documents(messages: Sequence[Mapping[str, Any]], documents: Sequence[str]) -> list[dict[str, Any]]:
    """The conversation with the documents under the last message, each between marks."""
    if not documents:
        return list(messages)
    *before, last = messages
    parts = [text_of(last), *(f"--- document {n} ---\n{text}\n--- end ---" for n, text in
                                         enumerate(documents, 1))]
    return [*before, {**last, "content": "\n".join(parts)}]
