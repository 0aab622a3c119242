"""Where Ollama is, and whether anything answers there."""
from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

PORT = 11434


def address(base_url: str | None) -> str:
    """http://host:port of an Ollama: as given, else as OLLAMA_HOST says, in any of its spellings."""
    given = (base_url or os.environ.get("OLLAMA_HOST") or "").strip().rstrip("/")
    parts = urlsplit(given if "://" in given else f"http://{given}")
    host = parts.hostname or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # where a server listens, a client cannot call
    port = parts.port or {"https": 443}.get(parts.scheme, 80 if "://" in given else PORT)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path}"


def not_running(url: str) -> str:
    """What to say when nothing answers there."""
    return f"Ollama is not running at {url}. Start it with: ollama serve"


def answers(url: str) -> bool:
    """Whether a server listens there; known after 0.2 s at most."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=0.2).close()
        return True
    except OSError:
        return False
