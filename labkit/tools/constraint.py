"""What an answer may look like, in a form that runtimes can enforce while decoding."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Constraint:
    """kind: "json_schema" (text is a JSON schema), "lark" (llguidance's dialect) or "regex"."""

    kind: str
    text: str
