"""A place that speaks Ollama's API: Ollama itself where one answers, else `labkit serve`, labelled as a stand-in."""
from __future__ import annotations

from dataclasses import dataclass

from labkit.serving.background import Background, serve_in_background


@dataclass(frozen=True)
class Place:
    """Where to send requests. `server` is None for a real Ollama."""

    base_url: str
    model: str
    server: Background | None = None

    @property
    def real(self) -> bool:
        """Whether this is Ollama itself."""
        return self.server is None

    def __str__(self) -> str:
        if self.real:
            return f"Ollama at {self.base_url}, smallest model: {self.model}"
        return (f"No Ollama with a model answers here. labkit serve stands in for it at {self.base_url}, "
                f"with the one model {self.model}.")

    def close(self) -> None:
        """End the stand-in. A real Ollama is left alone."""
        if self.server:
            self.server.stop()


def ollama_or_stand_in(base_url: str | None = None) -> Place:
    """The Ollama at base_url (None: OLLAMA_HOST, or this machine's) and its smallest model, or a stand-in."""
    from labkit.backends.ollama_address import address, answers
    from labkit.backends.registry import connect
    url = address(base_url)
    if answers(url) and (smallest := _smallest(url)):
        return Place(url, smallest)
    server = serve_in_background(connect())
    return Place(server.base_url, _smallest(server.base_url), server)


def _smallest(url: str) -> str | None:
    """The name of the smallest model there; None where none is, or something else answers."""
    import httpx
    import ollama
    try:
        there = ollama.Client(url, timeout=5.0).list().models
    except (ollama.ResponseError, ConnectionError, httpx.HTTPError, ValueError, TypeError, AttributeError):
        return None
    return min(there, key=lambda entry: entry.size or 0).model if there else None
