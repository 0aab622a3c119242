"""Who is served next: a bounded queue with priorities, fair between clients. What does not fit is refused at once.

Higher priorities first. Among equals, start-time fair queuing (Goyal et al. 1996), every request counted alike: a
client with a hundred requests waits behind its own, not in front of one that has sent a single one. Knows no model.
"""
from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from labkit.errors import LabkitError

FORGET = 1024  # clients whose last turn is remembered
PAUSE_S = 5.0  # when to ask again, where nothing tells how long a pause will be


class Busy(LabkitError):
    """The queue is full. Ask again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float):
        self.retry_after_s = max(1, round(retry_after_s))
        super().__init__(f"{message} Ask again in {self.retry_after_s} s.")


class TooMany(Busy):
    """This client asks for more than its share."""


class Paused(Busy):
    """No new work is taken for now."""


class TooLate(LabkitError):
    """The request's deadline has passed."""


class Left(LabkitError):
    """The client went away while it waited. Nobody reads this."""


@dataclass
class Ticket:
    """A request's place: who asks, how urgent it is, by when (time.monotonic()) it must be done; id: in logs."""

    client: str = ""
    priority: int = 0
    deadline: float | None = None
    id: str = ""
    _turn: asyncio.Future | None = field(default=None, repr=False)

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def leave(self) -> None:
        """Stop waiting. Only from the event loop; does nothing for who is not waiting."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_exception(Left("The client went away."))


class Admission:
    """at_once: requests served at the same time. waiting: places in the queue; a client may have half of them.

    pauses: why nobody new is let in; while there is a reason, those who wait are still served.
    """

    def __init__(self, at_once: int, waiting: int):
        self.at_once, self.places = at_once, waiting
        self.serving = 0
        self.pauses: set[str] = set()
        self.service_s = 1.0  # a turn, lately; see done
        self._queue: list[tuple[int, float, int, Ticket]] = []
        self._numbers = itertools.count()
        self._virtual, self._last = 0.0, {}

    @property
    def waiting(self) -> int:
        return sum(not ticket._turn.done() for *_, ticket in self._queue)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises Busy at once, TooLate at the deadline, Left after ticket.leave()."""
        await self.enter(ticket)
        began = time.monotonic()
        try:
            yield
        finally:
            self.done(time.monotonic() - began)

    async def enter(self, ticket: Ticket) -> None:
        """turn() without its end: who enters must call done() once."""
        if self.pauses:
            raise Paused(f"No new work is taken now: {', '.join(sorted(self.pauses))}.", PAUSE_S)
        if ticket.left_s is not None and ticket.left_s <= 0:
            raise TooLate("The deadline had passed before the request came to its turn.")
        if self.serving < self.at_once:
            self.serving += 1
            return
        self._check_room(ticket)
        ticket._turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (-ticket.priority, self._tag(ticket.client), next(self._numbers), ticket))
        try:
            async with asyncio.timeout(ticket.left_s):
                await ticket._turn
        except TimeoutError:
            self._give_back(ticket)
            raise TooLate("The deadline passed while the request waited for its turn.") from None
        except asyncio.CancelledError:
            self._give_back(ticket)
            raise

    def _give_back(self, ticket: Ticket) -> None:
        """Pass on a turn that had come in the moment in which its request gave up."""
        turn = ticket._turn
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._pass_on()

    def _check_room(self, ticket: Ticket) -> None:
        self._queue = [entry for entry in self._queue if not entry[-1]._turn.done()]  # those who left
        heapq.heapify(self._queue)
        if self.waiting >= self.places:
            raise Busy(f"{self.places} requests are waiting already.", self._retry_after_s())
        own = sum(other.client == ticket.client for *_, other in self._queue)
        if own >= max(1, self.places // 2):
            raise TooMany(f"{own} requests of this client are waiting already.", self._retry_after_s())

    def _tag(self, client: str) -> float:
        """Where the request stands among those of its priority."""
        if len(self._last) > FORGET:
            self._last = {name: tag for name, tag in self._last.items() if tag > self._virtual}
        self._last[client] = tag = max(self._virtual, self._last.get(client, 0.0)) + 1
        return tag

    def done(self, seconds: float) -> None:
        """End a turn that took so long."""
        self.service_s += 0.2 * (seconds - self.service_s)
        self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to the next who still waits."""
        while self._queue:
            _, tag, _, ticket = heapq.heappop(self._queue)
            if not ticket._turn.done():
                self._virtual = max(self._virtual, tag)
                ticket._turn.set_result(None)
                return
        self.serving -= 1

    def _retry_after_s(self) -> float:
        """When half of the queue will have been served, at the present pace."""
        return self.service_s * self.waiting / self.at_once / 2
