"""What users corrected, kept in a file to learn from: a learning agent's memory.

A correction is a request, the tools that were on offer, and the calls that would have been right. Each is on disk
when `add` returns. A line that a crash cut off was not accepted yet: the next `add` takes it away.
"""
from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest
from labkit.tools import examples
from labkit.tools.call import ToolCall
from labkit.tools.examples import Examples
from labkit.tools.tool import as_tools

TOGETHER = 8  # requests with the same tools that are learned from in one reading of them


class Feedback:
    """Corrections in a file of examples. One process writes it at a time."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def add(self, request: str, tools: Iterable[Any], calls: Sequence[ToolCall | Mapping[str, Any]]) -> None:
        """Keep what would have been right: calls, or none for an answer in words.

        tools: as in chat(). Raises BadRequest for a call that fits none of them.
        """
        row = {"tools": [tool.to_openai()["function"] for tool in as_tools(list(tools))],
               "asked": [{"request": request, "calls": [_plain(call) for call in calls]}]}
        examples.made(row)
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.truncate(_whole(file))
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def __len__(self) -> int:
        return sum(len(group.asked) for group in self.examples())

    def examples(self) -> list[Examples]:
        """All corrections, those with the same tools together, ready for `specialise`."""
        if not self.path.is_file():
            return []
        lines = self.path.read_bytes().rpartition(b"\n")[0].decode().splitlines()
        rows = [examples.made(json.loads(line)) for line in lines]
        return [group for _, same in groupby(rows, lambda row: row.tools) for group in _together(list(same))]


def _together(rows: list[Examples]) -> list[Examples]:
    return [replace(rows[0], asked=tuple(asked for row in rows[start:start + TOGETHER] for asked in row.asked))
            for start in range(0, len(rows), TOGETHER)]


def _plain(call: ToolCall | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(call, ToolCall):
        return {"name": call.name, "arguments": call.arguments}
    if not isinstance(call, Mapping) or call.keys() < {"name", "arguments"}:
        raise BadRequest(f'A call is {{"name": …, "arguments": {{…}}}} or a ToolCall, not {call!r}.')
    return {"name": call["name"], "arguments": call["arguments"]}


def _whole(file) -> int:
    """Bytes of a file up to its last whole line. Read from the start only where a crash cut the last one off."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(length - 1, 0))
    if file.read(1) in (b"", b"\n"):
        return length
    file.seek(0)
    return file.read().rfind(b"\n") + 1
