"""Whose request it is, how urgent, and by when it must be done: read from its headers, within the server's limits.

X-Priority: -9 to 9, higher is served first. X-Deadline-S: seconds from now. A client is told apart by its key, else by
the `user` field of its request, else by its address.
"""
from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from functools import cached_property

from fastapi import Request

from labkit.errors import BadRequest
from labkit.serving.admission import Ticket, TooMany

PRIORITIES = range(-9, 10)
CLOCK_SET_S = 1.0  # a jump of the wall clock that is no drift


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    at_once: answers in the making. waiting: requests in the queue. deadline_s: the most a request may take with its
    waiting. rate: requests of one client, like "60/minute"; None for no limit.
    Raises BadRequest for a rate that cannot be read, or a number that makes no sense.
    """

    at_once: int = 16
    waiting: int = 128
    deadline_s: float = 600.0
    rate: str | None = None

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.waiting < 0 or not self.deadline_s > 0:
            raise BadRequest(f"{self}: serve at least one at once, and give requests more than 0 seconds.")
        self._rate  # noqa: B018  refused now, not at the first request

    @cached_property
    def _rate(self) -> _Rate | None:
        return None if self.rate is None else _Rate(self.rate)

    def ticket(self, request: Request, user: str | None = None) -> Ticket:
        """The request's place in the queue. Raises TooMany for a client over its rate, BadRequest for odd headers."""
        client = client_of(request, user)
        if self._rate:
            self._rate.check(client)
        wanted = _number(request, "x-deadline-s")
        if wanted is not None and not 0 < wanted < math.inf:
            raise BadRequest("X-Deadline-S is a number of seconds above 0.")
        within = self.deadline_s if wanted is None else min(wanted, self.deadline_s)
        return Ticket(client, _priority(request), time.monotonic() + within, request.scope.get("request_id", ""))


class _Rate:
    """A rate of the `limits` library, which goes by the wall clock: when that is set, it begins anew."""

    def __init__(self, rate: str):
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter
        try:
            self._allowed = parse(rate)
        except ValueError as error:
            raise BadRequest(f"rate={rate!r}: write it like 60/minute or 5/second.") from error
        self._rate, self._limiter = rate, MovingWindowRateLimiter(MemoryStorage())
        self._offset = time.time() - time.monotonic()

    def check(self, client: str) -> None:
        """Count a request. Raises TooMany for one too many."""
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > CLOCK_SET_S:  # else a clock set back would lock clients out until it caught up
            self._offset = offset
            self._limiter.storage.reset()
        if not self._limiter.hit(self._allowed, client):
            until = self._limiter.get_window_stats(self._allowed, client).reset_time
            raise TooMany(f"More than {self._rate} is not possible.", until - time.time())


def client_of(request: Request, user: str | None) -> str:
    """Who asks. Of a key, a hash: names of clients may be shown and logged. So of a long name: many are kept."""
    user = hashlib.sha256(user.encode(errors="replace")).hexdigest()[:32] if user and len(user) > 64 else user
    if key := request.headers.get("authorization"):
        return f"key {hashlib.sha256(key.encode()).hexdigest()[:8]}{f' {user}' if user else ''}"
    return user or (request.client.host if request.client else "unknown")


def _priority(request: Request) -> int:
    wanted = _number(request, "x-priority") or 0
    if wanted not in PRIORITIES:
        raise BadRequest(f"X-Priority is a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}.")
    return int(wanted)


def _number(request: Request, header: str) -> float | None:
    value = request.headers.get(header)
    try:
        return None if value is None else float(value)
    except ValueError:
        raise BadRequest(f"{header.title()}: {value!r} is no number.") from None
