"""A connection that is closed when a request's head does not arrive in time: uvicorn itself waits for ever.

Without it a few hundred clients that send a letter now and then hold every connection the server may have. (The time
for the body is the guard's affair.)
"""
from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 15.0  # seconds to send it, from the connection, or from the first byte of a later request


class Connection(H11Protocol):
    """For uvicorn's `http=`."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle and not self.cycle.response_complete:
            self._on_time()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self.transport.close)

    def on_response_complete(self) -> None:
        self._on_time()  # answered before data_received() could see that it was asked
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_time()
        super().connection_lost(exc)

    def _on_time(self) -> None:
        if self._late:
            self._late.cancel()
        self._late = None
