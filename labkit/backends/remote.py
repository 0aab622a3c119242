"""What backends behind an official HTTP client share: the client, until the connection is closed."""
from __future__ import annotations

from typing import Any

from labkit.backends.base import CLOSED, Backend
from labkit.errors import BackendUnavailable


class Remote(Backend):
    """A backend that talks to a server. `_client` is the official client, None once closed."""

    _client: Any = None

    @property
    def closed(self) -> bool:
        return self._client is None

    @property
    def client(self):
        """The official client below, with all its methods; for measurements too."""
        if self._client is None:
            raise BackendUnavailable(CLOSED)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
