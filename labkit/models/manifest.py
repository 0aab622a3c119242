"""What a folder of files should hold: by what it was made, and the length and SHA-256 of each file."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

NAME = "manifest.json"


def read(folder: Path) -> dict[str, Any] | None:
    """The facts write() kept, or None where there are none that can be read."""
    try:
        facts = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return facts if isinstance(facts["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(folder: Path, facts: dict[str, Any]) -> None:
    """Keep `facts` in the folder, and with them every file that is in it now."""
    files = {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
             for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / NAME).write_text(json.dumps({**facts, "files": files}, indent=1), encoding="utf-8")


def fault(folder: Path, files: dict[str, Any], verify: bool = False) -> str | None:
    """The first file that is gone or of another length, and with `verify` of another content; or None."""
    return next((wrong for name, fact in files.items() if (wrong := _wrong(folder / name, fact, verify))), None)


def _wrong(path: Path, fact: dict[str, Any], verify: bool) -> str | None:
    n_bytes = path.stat().st_size if path.is_file() else 0
    if n_bytes != fact["bytes"]:
        return f"is damaged: {path.name} has {n_bytes} bytes, {fact['bytes']} expected"
    if verify and sha256(path) != fact["sha256"]:
        return f"is damaged: {path.name} is not what was written"
    return None


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
