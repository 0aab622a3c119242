"""What the probes look at: a deployment of two replicas behind a gateway, started for them and ended after them."""
from __future__ import annotations

import itertools
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from labkit.backends.launch import Server
from labkit.errors import LabkitError
from labkit.serving import deploy, deployment
from labkit.serving.app import listen

NAME, KEY_ENV = "checklist", "LABKIT_CHECKLIST_KEY"
AT_ONCE, WAITING, RATE, MEMORY_MB = 2, 4, 8, 4000
FILE = """name: {name}
backend: {backend}
port: {port}
replicas: 2
key_env: {key_env}
history: true
memory_mb: {memory}
limits:
  at_once: {at_once}
  waiting: {waiting}
  deadline: 60
  rate: {rate}/minute
"""
PARIS = "What is the capital of France?"
STORY = "Tell me a long story about a dragon."


class Subject:
    """A running service. url: of its gateway. Each request is another user's, so that no limit of one user is met."""

    def __init__(self, backend: str, say: Callable[[str], object]):
        self.backend, self._say, self._users = backend, say, itertools.count()
        self.key, self.marker = secrets.token_hex(16), f"marker-{secrets.token_hex(8)}"

    def __enter__(self) -> Subject:
        os.environ[KEY_ENV] = self.key
        with suppress(LabkitError):  # of a run that was killed
            deploy.down(NAME, self._say)
        shutil.rmtree(self.folder, ignore_errors=True)  # what an earlier run has kept would be taken for this one's
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "checklist.yaml"
            file.write_text(FILE.format(name=NAME, backend=self.backend, port=_ports(), key_env=KEY_ENV, rate=RATE,
                                        memory=MEMORY_MB, at_once=AT_ONCE, waiting=WAITING), encoding="utf-8")
            self.wanted = deployment.read(file)
            self.url = deploy.up(file, self._say).url
        return self

    def __exit__(self, *_) -> None:
        with suppress(LabkitError):
            deploy.down(NAME, self._say)
        os.environ.pop(KEY_ENV, None)

    @property
    def servers(self) -> list[Server]:
        """The processes that run, the gateway first."""
        return deploy.running(NAME)

    @property
    def replicas(self) -> list[str]:
        """The addresses of the replicas."""
        return [server.health_url.removesuffix("/health") for server in self.servers[1:]]

    @property
    def folder(self) -> Path:
        return deploy.folder_of(NAME)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def ask(self, words: Any = PARIS, url: str = "", headers: dict[str, str] | None = None,
            **fields: Any) -> httpx.Response:
        """One chat completion. words: of the user, or whatever shall stand where the messages do."""
        messages = [{"role": "user", "content": words}] if isinstance(words, str) else words
        body = {"messages": messages, "max_tokens": 8, "user": f"user {next(self._users)}", **fields}
        return httpx.post(f"{url or self.url}/v1/chat/completions", json=body, timeout=120,
                          headers=self.headers if headers is None else headers)

    def get(self, path: str, url: str = "", headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.get(f"{url or self.url}{path}", headers=self.headers if headers is None else headers, timeout=30)

    def ask_at_once(self, times: int, **fields: Any) -> list[httpx.Response | httpx.HTTPError]:
        """The outcomes of as many requests at the same time."""
        outcomes: list[Any] = []

        def one() -> None:
            try:
                outcomes.append(self.ask(**fields))
            except httpx.HTTPError as error:
                outcomes.append(error)
        threads = [threading.Thread(target=one) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes


def text_of(answer: httpx.Response) -> str:
    """What an answer says; raises for one that is none."""
    answer.raise_for_status()
    return answer.json()["choices"][0]["message"]["content"] or ""


def _ports() -> int:
    """A port that is free now, with two more after it."""
    while True:
        with listen("127.0.0.1", 0) as probe:
            port = probe.getsockname()[1]
        if port > 64_000:
            continue
        with suppress(LabkitError):
            for near in range(port, port + 3):
                listen("127.0.0.1", near).close()
            return port
