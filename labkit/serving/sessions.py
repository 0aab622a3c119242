"""What was said before: clients' conversations with an agent, in memory, bounded in number and in length."""
from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labkit.errors import LabkitError

MOST = 1000         # sessions kept
TURNS = 20          # of one session
CHARACTERS = 12000  # of one session, about 3 000 tokens; fewer where the model's context is small
Turn = list[dict[str, Any]]


class SessionBusy(LabkitError):
    """The session is answering another request."""


class Session:
    """Whole turns, each a user's message with all that came of it; the oldest are dropped."""

    def __init__(self, characters: int):
        self.turns: list[Turn] = []
        self.busy, self._characters = False, characters

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All turns, as a conversation."""
        return [message for turn in self.turns for message in turn]

    def add(self, turn: Turn) -> None:
        self.turns.append(turn)
        while len(self.turns) > TURNS or sum(len(str(turn)) for turn in self.turns) > self._characters:
            del self.turns[0]


class Sessions:
    """By client and name, so that one client never meets another's. For the event loop alone.

    context_tokens: of the model; a session takes at most about half of it.
    """

    def __init__(self, context_tokens: int | None = None):
        self._characters = min(CHARACTERS, 3 * context_tokens // 2) if context_tokens else CHARACTERS
        self._kept: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def held(self, client: str, name: str) -> Iterator[Session]:
        """This client's session of that name, a new one if need be, for one request. Raises SessionBusy for two."""
        key = (client, name)
        session = self._kept.setdefault(key, Session(self._characters))
        if session.busy:
            raise SessionBusy(f"The session {name!r} is answering another request. Wait for its end, or use another "
                              "session.")
        session.busy = True
        self._kept.move_to_end(key)
        self._make_room()
        try:
            yield session
        finally:
            session.busy = False
            if not session.turns:  # it failed: nothing to remember
                del self._kept[key]

    def _make_room(self) -> None:
        """Drop the least recently used one of the client that has the most, so that nobody drives out the others."""
        idle = [key for key, session in self._kept.items() if not session.busy]
        if len(self._kept) > MOST and idle:
            (most, _), = Counter(client for client, _ in idle).most_common(1)
            del self._kept[next(key for key in idle if key[0] == most)]
