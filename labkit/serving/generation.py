"""One answer, made in a worker thread, and handed to the event loop piece by piece.

Generating is plain blocking Python. A thread does it and posts each piece into the request's own
queue; the event loop never waits for a model, and the model never waits for a slow reader.
"""
from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labkit.backends.chat import Chat
from labkit.backends.reply import Reply, Usage
from labkit.backends.stream import Stream
from labkit.errors import BackendUnavailable, BadRequest, IncompleteOutput
from labkit.serving.admission import Admission, Left, Ticket, TooLate, TooMany
from labkit.serving.metrics import Metrics
from labkit.serving.telemetry import Told
from labkit.serving.tickets import Limits

_log = logging.getLogger("labkit.serving.requests")
GRACE_S = 1.0  # for a model to end after its deadline; then the client is answered, and the thread stays taken
SPARE = 8  # threads for what is no answer: embeddings, counting tokens


@dataclass(frozen=True)
class Piece:
    """Some text of the answer, and the token counts so far."""

    text: str
    usage: Usage


class Generation:
    """One request to the model. Iterate `pieces()`; then `reply` is the whole answer."""

    operation = "chat"  # its name in telemetry

    def __init__(self, service: Service, conversation: Any, arguments: Mapping[str, Any], ticket: Ticket | None = None):
        self._service, self._conversation, self._arguments = service, conversation, arguments
        self._ticket = ticket or Ticket()
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue()
        self._stream: Stream | None = None
        self._gone, self._in_pieces, self._late = False, True, False
        self._watcher: asyncio.Task | None = None
        self._started = time.perf_counter()
        self.reply: Reply | None = None
        self.answering = False  # the response has begun

    async def whole(self, request=None) -> Reply:
        """The finished answer; the client of this request, if it is given, stops it by going away."""
        self._in_pieces = False
        if request is not None:
            self.watch(request)
        async for _ in self.pieces():
            pass
        return self.reply

    def watch(self, request) -> None:
        """Stop when the client of this (fully read) request goes away."""
        async def until_gone():
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.stop()
        self._watcher = self._loop.create_task(until_gone())

    async def pieces(self) -> AsyncIterator[Piece]:
        """The text as it comes, once it is this request's turn.

        Leaving early stops the generation; a failure is raised where it comes. Raises Busy, TooLate.
        """
        self._service.running.add(self)
        self._told = Told(self.operation, self._service.chat, self._arguments)
        timer, queued_s, metrics = None, 0.0, self._service.metrics
        try:
            await self._begin()
            queued_s = self.elapsed_s
            self._told.turn()
            if (left := self._ticket.left_s) is not None:
                timer = self._loop.call_later(left, self._deadline)
            while isinstance(event := await self._queue.get(), Piece):
                yield event
            self.reply = self._checked(event)
            self._note(metrics.ended(self.reply, queued_s, self.elapsed_s))
        except BaseException as error:  # also GeneratorExit: the reader has left
            self._note(metrics.failed(error))
            raise
        finally:
            if timer:
                timer.cancel()
            self.stop()
            self._service.running.discard(self)
            if self._watcher:
                self._watcher.cancel()

    async def _begin(self) -> None:
        """Wait for a turn, and put a thread to work. The turn is over when the thread is done, whoever still reads."""
        try:
            await self._service.admission.enter(self._ticket)
        except Left:
            if self._service.closed:
                raise BackendUnavailable("The server was stopped while this request waited for its turn.") from None
            raise
        began = time.monotonic()
        work = self._loop.run_in_executor(self._service.threads, self._work)
        work.add_done_callback(lambda _: self._service.admission.done(time.monotonic() - began))

    def _checked(self, event: Any) -> Reply:
        """The reply; raises what ended the answer otherwise."""
        if isinstance(event, Exception):
            raise event
        if event.finish_reason == "cancelled" and self._service.closed:
            raise BackendUnavailable("The server was stopped in the middle of this answer.")
        if event.finish_reason == "cancelled" and self._late:
            raise TooLate("The deadline passed in the middle of this answer.")
        return event

    def _note(self, outcome: str) -> None:
        """A line of JSON for the log, and telemetry; nothing of what was asked or answered is in them."""
        self._told.end(self.reply, outcome, self.elapsed_s)
        if _log.isEnabledFor(logging.INFO):
            usage = self.reply.usage if self.reply else Usage()
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            _log.info(json.dumps({
                "at": at, "request": self._ticket.id, "client": self._ticket.client, "outcome": outcome,
                "priority": self._ticket.priority, "ms": round(1000 * self.elapsed_s, 1),
                "input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}))

    def _deadline(self) -> None:
        self._late = True
        self.stop()
        hung = TooLate("The deadline passed, and the model does not react.")
        self._loop.call_later(GRACE_S, self._queue.put_nowait, hung)

    def stop(self) -> None:
        """End it after the step in progress, or while it waits. Safe from any thread, and when it is over."""
        self._gone = True
        if self._stream:
            self._stream.stop()
        try:
            self._loop.call_soon_threadsafe(self._ticket.leave)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    @property
    def elapsed_s(self) -> float:
        """Since the request came."""
        return time.perf_counter() - self._started

    # -- in the worker thread --------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._post(self._generate())
        except Exception as error:  # whatever it is, the request that waits for it must hear of it
            self._post(error)

    def _generate(self) -> Reply:
        with self._hold(self._service.chat.stream(self._conversation, **self._arguments)) as stream:
            for text in stream:
                if self._in_pieces:  # else the event loop would wake for every token, for nothing
                    self._post(Piece(text, stream.so_far.usage))
            return self._finished(stream)

    def _hold(self, stream: Stream) -> Stream:
        """Keep it where stop() finds it."""
        self._stream = stream
        if self._gone:  # while the request waited for its turn
            stream.stop()
        return stream

    def _finished(self, stream: Stream) -> Reply:
        """The reply. A value that was cut at max_tokens is passed on as it is: "length" says so."""
        try:
            return stream.reply
        except IncompleteOutput:
            so_far = stream.so_far
            if self._arguments.get("schema") is not None and so_far.finish_reason == "length":
                return so_far
            raise

    def _post(self, event: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)
        except RuntimeError:  # the loop is closed: the server has stopped, nobody waits
            self.stop()


class Service:
    """A connected model, the queue before it, and the threads that serve it."""

    def __init__(self, chat: Chat, limits: Limits | None = None):
        self.chat, self.limits = chat, limits or Limits()
        self.names = {chat.model}  # what the model was called since the start: clients may go on using it
        self.admission = Admission(self.limits.at_once, self.limits.waiting)
        self.metrics = Metrics(self.admission)
        self.threads = ThreadPoolExecutor(self.limits.at_once + SPARE, thread_name_prefix="labkit-serve")
        self.running: set[Generation] = set()
        self.closed = False
        self.since = time.time()

    def ticket(self, request, user: str | None = None) -> Ticket:
        """The request's place in the queue, see Limits.ticket."""
        try:
            return self.limits.ticket(request, user)
        except TooMany as error:
            self.metrics.failed(error)
            raise

    async def run(self, function, *arguments):
        """A blocking call, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)

    def shrink(self, level: str) -> None:
        """Go on with the same model in fewer bits. Answers in the making end on the one they began with; that one's
        memory is free when the last of them is over. Whoever else holds `chat` has the smaller model, too.

        Raises BadRequest where the runtime cannot, and what quantising raises.
        """
        backend = self.chat.backend
        if not hasattr(backend, "in_level"):
            raise BadRequest(f"{backend.name} cannot change its model while it runs: only llama.cpp can.")
        smaller = backend.in_level(level)
        smaller.capabilities  # noqa: B018  probed now, not when the next request waits for it
        self.chat.backend = smaller
        self.names.add(self.chat.model)

    def unload(self) -> None:
        """Free the model's memory; the next request loads it again, and waits for that. Answers in the making keep
        theirs to their end. Raises BadRequest where the runtime cannot."""
        backend = self.chat.backend
        if not hasattr(backend, "unload"):
            raise BadRequest(f"{backend.name} cannot unload its model while it runs: only llama.cpp can.")
        backend.unload()

    def reasons(self) -> list[str]:
        """Why this service is not what it should be; none when it is."""
        full = self.admission.waiting >= self.limits.waiting
        return [f"{self.admission.waiting} requests are waiting: the queue is full"] if full else []

    def close(self) -> None:
        """Stop every answer in the making, whose clients are told so, and let the threads go."""
        self.closed = True
        for generation in tuple(self.running):
            generation.stop()
        self.threads.shutdown(wait=False, cancel_futures=True)
