"""What an answer may look like, in a form that runtimes can enforce while decoding."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Constraint:
    """kind: "json_schema" (text is a JSON schema), "lark" (llguidance's dialect) or "regex"."""

    kind: str
    text: str

    def plain_schema(self) -> dict[str, Any]:
        """The JSON schema without llguidance's own options, for runtimes that do not know them."""
        schema = json.loads(self.text)
        schema.pop("x-guidance", None)
        return schema
