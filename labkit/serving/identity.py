"""What the served model is called, and what is known about it."""
from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.backends.chat import Chat
from labkit.serving.failures import NoSuchModel
from labkit.serving.generation import Service


def model_id(chat: Chat) -> str:
    """The model's name as clients give it: without spaces."""
    return chat.model.replace(" ", "-")


def check_model(service: Service, asked: str | None) -> None:
    """Raise NoSuchModel unless the served model was asked for, by a name it has had in any spelling, or none was."""
    known = {name.replace(" ", "-").lower() for name in service.names}
    if asked and asked.replace(" ", "-").removesuffix(":latest").lower() not in known:
        raise NoSuchModel(f"This server has no model {asked!r}. There is: {model_id(service.chat)}.")


def metadata(chat: Chat, key: str) -> str | None:
    """A value of the GGUF's header, where the runtime has one open."""
    engine = getattr(chat.backend, "engine", None)
    return engine.metadata(key) if hasattr(engine, "metadata") else None


def file_of(chat: Chat) -> Path | None:
    """The model's file, where the runtime has one."""
    path = getattr(getattr(chat.backend, "engine", None), "path", None)
    return Path(path) if path else None


def details(chat: Chat) -> dict[str, Any]:
    """Ollama's `details`, as far as they are known."""
    family = metadata(chat, "general.architecture") or chat.backend.name
    return {"parent_model": "", "format": "gguf" if file_of(chat) else chat.backend.name, "family": family,
            "families": [family], "parameter_size": metadata(chat, "general.size_label") or "",
            "quantization_level": chat.model.split()[-1] if " " in chat.model else ""}


def digest(chat: Chat) -> str:
    """SHA-256 of the model's file, as Ollama names a model; of its name where there is no file."""
    path = file_of(chat)
    if path is None:
        return hashlib.sha256(chat.model.encode()).hexdigest()
    return _file_digest(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _file_digest(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def time_of(moment: datetime) -> str:
    """A moment in UTC as Ollama writes it."""
    return moment.isoformat().replace("+00:00", "Z")
