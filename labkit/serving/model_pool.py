"""Several models in one process, within a budget of memory: loaded when asked for, unloaded when room is needed.

The budget holds for the resident memory of the whole process, measured before and after each load. What has not been
used for longest goes first; what is in use never goes. Knows no HTTP.
"""
from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import BadRequest
from labkit.profiling.memory import rss
from labkit.serving.admission import Busy
from labkit.table import Shown, Table, size

if TYPE_CHECKING:
    from labkit.backends.chat import Chat


class NoRoom(Busy):
    """The memory allowed does not hold this model beside those in use."""


@dataclass
class _Model:
    connect: Callable[[], Chat]
    chat: Chat | None = None
    bytes: int = 0        # what its last load added; 0 before the first
    uses: int = 0         # now
    last: float = 0.0     # time.monotonic() of its last use


@dataclass(frozen=True)
class Change:
    """A model that was loaded or unloaded. rss_bytes: of the process afterwards. why: with the figure behind it."""

    at_s: float
    model: str
    loaded: bool
    rss_bytes: int
    why: str


class ModelPool(Shown):
    """models: how to connect to each, by name. memory_bytes: the most that this process may hold; None for no limit.

    at_once: models in use at the same time; more wait. idle_s: what was not used for so long is unloaded by `tidy`,
    None for never. saving: tells whether to save power now (see power.PowerMode); then `instead` names a smaller
    model for some. Safe from several threads; one load at a time.
    """

    def __init__(self, models: Mapping[str, Callable[[], Chat]], *, memory_bytes: float | None = None,
                 at_once: int = 4, idle_s: float | None = None, saving: Callable[[], bool] = lambda: False,
                 instead: Mapping[str, str] | None = None):
        if not models or at_once < 1:
            raise BadRequest("A pool needs at least one model, and at_once of 1 or more.")
        self._models = {name: _Model(connect) for name, connect in models.items()}
        self.memory_bytes, self.at_once, self.idle_s = memory_bytes, at_once, idle_s
        self._saving, self._instead = saving, dict(instead or {})
        for name in (*self._instead, *self._instead.values()):
            self._known(name)
        self._changed, self._began = threading.Condition(), time.monotonic()
        self.changes: list[Change] = []

    @contextmanager
    def use(self, name: str, wait_s: float = 30.0) -> Iterator[Chat]:
        """The model, loaded, and safe from being unloaded until the block ends.

        Raises Busy when no place gets free in wait_s seconds, NoRoom when it does not fit beside what is in use.
        """
        model = self._enter(self.choose(name), wait_s)
        try:
            yield model.chat
        finally:
            self._leave(model)

    def choose(self, name: str) -> str:
        """The model that `use` would take now: while power is saved, it may be a smaller one."""
        self._known(name)
        return self._instead.get(name, name) if self._saving() else name

    def warm(self, *names: str) -> None:
        """Load them now and let each write one token, so that the first request does not wait for it."""
        for name in names:
            with self.use(name) as chat:
                chat.chat("Hello", max_tokens=1)

    def tidy(self) -> list[str]:
        """Unload what was idle for longer than idle_s; their names. Call it now and then."""
        with self._changed:
            now = time.monotonic()
            old = [name for name in self._idle() if self.idle_s is not None
                   and now - self._models[name].last > self.idle_s]
            for name in old:
                self._unload(name, f"idle for {now - self._models[name].last:.1f} s")
            return old

    def close(self) -> None:
        """Unload everything. Raises Busy while a model is in use."""
        with self._changed:
            if used := [name for name, model in self._models.items() if model.uses]:
                raise Busy(f"In use: {', '.join(used)}.", 1)
            for name in self._idle():
                self._unload(name, "the pool is closed")

    @property
    def loaded(self) -> list[str]:
        """The models in memory, the least recently used first."""
        return sorted((name for name, model in self._models.items() if model.chat),
                      key=lambda name: self._models[name].last)

    def table(self) -> Table:
        rows = [(name, "in use" if model.uses else "loaded" if model.chat else "–",
                 size(model.bytes) if model.bytes else "not known yet") for name, model in self._models.items()]
        allowed = "no limit" if self.memory_bytes is None else f"{size(self.memory_bytes)} allowed"
        return Table(("model", "state", "its load added"), tuple(rows), note=f"process: {size(rss())}, {allowed}")

    # -- with the lock held --------------------------------------------------------------

    def _enter(self, name: str, wait_s: float) -> _Model:
        with self._changed:
            free = self._changed.wait_for(lambda: self._in_use() < self.at_once, wait_s)
            if not free:
                raise Busy(f"{self.at_once} models are in use, and none was done within {wait_s:g} s.", wait_s / 2)
            model = self._models[name]
            if model.chat is None:
                self._load(name, model)
            model.uses += 1
            model.last = time.monotonic()
            return model

    def _leave(self, model: _Model) -> None:
        with self._changed:
            model.uses -= 1
            model.last = time.monotonic()
            self._make_room(0, keep="")  # a cache that grew in use counts, too
            self._changed.notify_all()

    def _load(self, name: str, model: _Model) -> None:
        self._make_room(model.bytes, keep=name)
        if not self._fits(model.bytes):
            raise NoRoom(f"{name} takes {size(model.bytes)}, and {self._held()}.", 1)
        before, chat = rss(), model.connect()
        model.chat, model.bytes = chat, max(1, rss() - before)
        self._note(name, True, f"asked for; it added {size(model.bytes)}")
        self._make_room(0, keep=name)
        if not self._fits(0):
            self._unload(name, f"it added {size(model.bytes)}: too much")
            raise NoRoom(f"{name} takes {size(model.bytes)}, and {self._held()}. Use a smaller one, or allow more.", 1)

    def _make_room(self, bytes: int, keep: str) -> None:
        """Unload idle models, the least recently used first, until so much more fits; or until none is left."""
        for name in self._idle():
            if self._fits(bytes):
                return
            if name != keep:
                self._unload(name, f"room: {size(rss())} in the process, {size(self.memory_bytes)} allowed")

    def _unload(self, name: str, why: str) -> None:
        model = self._models[name]
        model.chat.close()
        model.chat = None
        gc.collect()
        self._note(name, False, why)

    def _note(self, name: str, loaded: bool, why: str) -> None:
        self.changes.append(Change(time.monotonic() - self._began, name, loaded, rss(), why))

    def _fits(self, bytes: int) -> bool:
        return self.memory_bytes is None or rss() + bytes <= self.memory_bytes

    def _held(self) -> str:
        return f"the process holds {size(rss())} of {size(self.memory_bytes)} allowed"

    def _idle(self) -> list[str]:
        return [name for name in self.loaded if not self._models[name].uses]

    def _in_use(self) -> int:
        return sum(model.uses for model in self._models.values())

    def _known(self, name: str) -> None:
        if name not in self._models:
            raise BadRequest(f"There is no model {name!r} in this pool. There are: {', '.join(self._models)}.")
