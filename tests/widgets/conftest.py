from __future__ import annotations

import time

import pytest

import labkit as lk
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.chat import Chat


@pytest.fixture(scope="session")
def slm():
    """The embedded model."""
    return lk.connect()


class ScriptedBackend(Backend):
    """Says what it was told to, for answers that a real model cannot be made to give.

    A str is a token; an exception is raised in its place; None waits until the stream is closed.
    """

    name = model = "scripted"
    capabilities = Capabilities()

    def __init__(self, *pieces):
        self.pieces, self.requests, self.closed = pieces, [], 0

    def generate(self, request):
        self.requests.append(request)
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if piece is None:
                    while True:
                        time.sleep(0.005)
                        yield Chunk("on and ")
                yield Chunk(piece)
            yield Chunk("", tokens=0, finish_reason="stop")
        finally:
            self.closed += 1


@pytest.fixture
def scripted():
    """scripted(*pieces) is a connected model that answers with them."""
    return lambda *pieces: Chat(ScriptedBackend(*pieces))


@pytest.fixture
def until():
    """until(condition) returns when it holds, and fails after ten seconds."""
    def wait(condition):
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition never came to hold"
            time.sleep(0.01)
    return wait
