"""A server in a thread of this process: for lessons, tests and notebooks."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.agents.agent import Agent
from labkit.backends.chat import Chat
from labkit.errors import LabkitError
from labkit.serving.app import address, listen, make_server
from labkit.serving.job_store import JobStore
from labkit.serving.tickets import Limits
from labkit.serving.watch import Watch

if TYPE_CHECKING:
    import uvicorn

_START_S = 20.0


class Background:
    """A running server. `base_url` is its address; `stop()` ends it and waits until it has ended.

    make: makes the server, once the port is taken. port: 0 for a free one.
    """

    def __init__(self, make: Callable[[], uvicorn.Server], port: int = 0, name: str = "labkit serve"):
        self._listening = listen("127.0.0.1", port)
        self.base_url = address(self._listening)
        self._server = make()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()
        self._wait()

    def _run(self) -> None:
        with self._listening:
            self._server.run(sockets=[self._listening])

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise LabkitError("The server did not start; the lines above say why.")
            time.sleep(0.005)

    def stop(self) -> None:
        """End the server; answers in the making are cut off after two seconds. Once more does nothing."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def serve_in_background(chat: Chat, api_key: str | None = None, port: int = 0,
                        limits: Limits | None = None, store: JobStore | None = None,
                        agent: Agent | None = None, watch: Watch | None = None) -> Background:
    """Serve `chat` at 127.0.0.1 (port 0: a free one) until stop(), or the end of a `with` block."""
    return Background(lambda: make_server(chat, api_key, limits, store, agent, watch), port)
