"""POST /chat: an agent behind the service. A message goes in; out come its answer and the tools that it called.

It has its place in the same queue, with the same deadline, limits and errors as a plain answer. What was said before
is a session's, see sessions. Tools run in the server's threads, several at once where several clients ask.

With "stream" the calls of tools and their results come as they happen, as server-sent events, and then the answer.
"""
from __future__ import annotations

import copy
import json
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from labkit.agents.agent import Agent
from labkit.agents.routing import Router
from labkit.agents.run import Run, Step
from labkit.backends.chat import Chat
from labkit.backends.reply import Reply, Timing, Usage
from labkit.errors import LabkitError
from labkit.serving.admission import Ticket
from labkit.serving.answering import lines_response, read, service_of, sse
from labkit.serving.failures import NotHere, body_midway
from labkit.serving.generation import Generation, Piece, Service
from labkit.serving.sessions import Session
from labkit.tools.messages import MAX_RESULT, shortened, well_formed

router = APIRouter()


class MessageBody(BaseModel, extra="forbid"):
    """A message to the agent. session: a conversation to go on with, or a name for a new one."""

    message: str = Field(min_length=1)
    session: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    user: str | None = None  # whose place in the queue, and whose session it is, see tickets
    stream: bool = False


class AgentWork(Generation):
    """An agent at work on a conversation, from this request's turn on. `run` is what it did."""

    operation = "invoke_agent"

    def __init__(self, service: Service, agent: Agent, messages: Sequence[dict[str, Any]], ticket: Ticket):
        super().__init__(service, messages, {}, ticket)
        self._agent, self._slm = copy.copy(agent), agent.slm
        self._agent.slm = self  # its model's answers come through here, where they can be stopped
        self._first, self._shown = Timing(), len(messages)
        self.run: Run | None = None

    def chat(self, messages: Sequence[dict[str, Any]], **options: Any) -> Reply:
        """One step's answer of the model."""
        results = [message["content"] for message in messages[self._shown:] if message["role"] == "tool"]
        self._shown = len(messages)
        self._tell({"type": "result", "content": content} for content in results)
        if not self._gone:
            reply = self._hold(self._slm.stream(messages, **options)).reply
            self._first = self._first if self._first.arrivals else reply.timing
        if self._gone:
            raise LabkitError("The work was stopped.")
        self._tell({"type": "call", "tool": call.name, "arguments": _plain(call.arguments)}
                   for call in reply.tool_calls)
        return reply

    def _tell(self, events: Iterable[dict[str, Any]]) -> None:
        if self._in_pieces:
            for event in events:
                self._post(Piece(json.dumps(event), Usage()))

    def _generate(self) -> Reply:
        try:
            self.run = run = self._agent.run(self._conversation)
        except LabkitError:
            if self._gone:
                return Reply("", finish_reason="cancelled")
            raise
        return Reply(run.text, usage=run.usage, timing=Timing(self._first.arrivals[:1], run.seconds),
                     finish_reason=run.finish_reason)

    def end(self, session: Session, name: str) -> dict[str, Any]:
        """What the client is told, once it is over; the session remembers it."""
        run = self.run or Run([], finish_reason=self.reply.finish_reason)
        if run.text:
            session.add(run.messages[-1 - len(run.steps):])  # from the user's message on: each step has added one
        usage = {**asdict(run.usage), "total_tokens": run.usage.total_tokens}
        return {"text": run.text, "steps": [_step(step) for step in run.steps if step.kind == "tool"], "usage": usage,
                "session": name, "finish_reason": run.finish_reason}


def model_of(agent: Agent) -> Chat:
    """The agent's model; of one with a router, the small one."""
    return agent.slm.small.slm if isinstance(agent.slm, Router) else agent.slm


@router.post("/chat")
async def chat(request: Request):
    if (agent := request.app.state.agent) is None:
        raise NotHere("This server has no agent. Start it with: labkit serve --agent RECIPE.yaml")
    body, service = await read(request, MessageBody), service_of(request)
    ticket, name = service.ticket(request, body.user), body.session or uuid.uuid4().hex
    with ExitStack() as held:
        session = held.enter_context(request.app.state.sessions.held(ticket.client, name))
        work = AgentWork(service, agent, [*session.messages, {"role": "user", "content": body.message}], ticket)
        if body.stream:
            events = _events(held.pop_all(), work, session, name)
            return await lines_response(request, work, events, "text/event-stream")
        await work.whole(request)
        return work.end(session, name)


async def _events(held: ExitStack, work: AgentWork, session: Session, name: str) -> AsyncIterator[bytes]:
    """What the agent does, as it does it, ended by its answer and [DONE], or by an error."""
    with held:
        try:
            async for piece in work.pieces():
                yield f"data: {piece.text}\n\n".encode()
            yield sse({"type": "answer", **work.end(session, name)})
            yield b"data: [DONE]\n\n"
        except Exception as error:
            if not work.answering:  # nothing was sent: the status can still say it
                raise
            yield sse(body_midway("/chat", error))


def _step(step: Step) -> dict[str, Any]:
    """A tool's call, as JSON."""
    call, = step.calls
    return {"tool": call.name, "arguments": _plain(call.arguments), "result": _plain(step.result), "error": step.error,
            "seconds": round(step.seconds, 4)}


def _plain(result: Any) -> Any:
    """A tool's result as it is, where JSON can say it and it is not long; else as text."""
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False)
        text.encode()
        return result if len(text) <= MAX_RESULT else shortened(text)
    except (TypeError, ValueError, RecursionError):
        return shortened(well_formed(str(result)))
