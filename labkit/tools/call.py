"""One call of a tool, as the model asked for it."""
from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class ToolCall:
    """`arguments` is a dict that is valid against the tool's schema."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=_new_id, compare=False)

    def to_openai(self) -> dict[str, Any]:
        """The form OpenAI's messages use: arguments as a JSON string."""
        return {"id": self.id, "type": "function",
                "function": {"name": self.name, "arguments": json.dumps(self.arguments, ensure_ascii=False)}}

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.name}({given})"
