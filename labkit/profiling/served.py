"""`labkit serve` in a process of its own, for measuring it from outside."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from labkit.errors import LabkitError


@dataclass(frozen=True)
class Served:
    """A running server: its process and its address."""

    process: subprocess.Popen
    url: str


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    """A server with these arguments of `labkit serve`, for as long as the block lasts, if nobody ends it before.

    It asks for no key, whatever this process's environment says, and ends with this process, however that ends.
    Raises LabkitError when it does not start.
    """
    command = [sys.executable, "-m", "labkit.models.tethered", "-m", "labkit", "serve", "--port", "0", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "LABKIT_API_KEY"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
                          env=environment) as process:
        try:
            said = process.stdout.readline()  # … at http://127.0.0.1:8484/v1 (OpenAI) and …
            if "http://" not in said:
                raise LabkitError("labkit serve did not start; the lines above say why.")
            yield Served(process, "http://" + said.split("http://", 1)[1].split("/v1", 1)[0])
        finally:
            process.terminate()
            process.wait()  # before its stdin is closed: it may finish what it is at


@contextmanager
def served() -> Iterator[str]:
    """The address of a server as it is without arguments."""
    with serving() as server:
        yield server.url
