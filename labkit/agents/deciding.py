"""What a model decides, where its words do not matter."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def decided(slm: Any, messages: Sequence[Mapping[str, Any]], **asked: Any) -> Any:
    """The reply with its calls, or with the first of its words: those that follow decide nothing."""
    with slm.stream(messages, **asked) as stream:
        for _ in stream:
            stream.stop()
        return stream.reply
