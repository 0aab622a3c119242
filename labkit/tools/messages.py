"""Conversations: check what came in, and put tool traffic into words for models without a template for it."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.errors import BadRequest

_ANSWER = "Tell me the answer in one short sentence, with the values of the result."
MAX_RESULT = 4000  # characters of a tool's result that the model is shown
ERROR = "Error: "  # how a tool's message begins when the tool failed
ROLES = ("system", "developer", "user", "assistant", "tool")


def normalise(conversation: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A string or OpenAI messages, checked, as a list of dicts with clean text.

    Raises BadRequest and names the message that cannot be used.
    """
    if isinstance(conversation, str):
        conversation = [{"role": "user", "content": conversation}]
    if not isinstance(conversation, Sequence) or not conversation:
        raise BadRequest('Give a text or a list of messages like [{"role": "user", "content": "Hello"}].')
    return [_checked(i, message) for i, message in enumerate(conversation)]


def _checked(i: int, message: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise BadRequest(f"Message {i} is {type(message).__name__}; it must be a dict with role and content.")
    role = message.get("role")
    if role not in ROLES:
        raise BadRequest(f"Message {i} has the role {role!r}. Use one of: {', '.join(ROLES)}.")
    clean = {**message, "role": "system" if role == "developer" else role}
    clean["content"] = _text(i, message.get("content"))
    if not clean["content"] and role in ("system", "user") and message.get("content") is None:
        raise BadRequest(f"Message {i} ({role}) has no content.")
    return clean


def _text(i: int, content: Any) -> str:
    """The text of a message: a string, or OpenAI's list of {"type": "text"} parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return well_formed(content)
    if isinstance(content, Sequence) and all(isinstance(p, Mapping) and p.get("type") == "text"
                                             for p in content):
        return well_formed("".join(str(part.get("text", "")) for part in content))
    raise BadRequest(f"Message {i} has content that is not text. labkit's models read text only.")


def shortened(result: str) -> str:
    """A tool's result as the model is shown it: a megabyte would not fit its context."""
    more = len(result) - MAX_RESULT
    return result if more <= 0 else f"{result[:MAX_RESULT]} … ({more} more characters)"


def well_formed(text: str) -> str:
    """Join surrogate pairs that were split, and replace lone ones by U+FFFD: they have no UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def flatten(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Plain (role, content) messages: calls and tool results become text in their place."""
    return [_flat(message) for message in messages]


def _flat(message: Mapping[str, Any]) -> dict[str, str]:
    if message["role"] == "tool":
        return {"role": "user", "content": f"Result: {message['content']}\n{_ANSWER}"}
    content = message["content"]
    if calls := message.get("tool_calls"):
        content = "\n".join([content, *(_call_text(c) for c in calls)]).strip()
    return {"role": message["role"], "content": content}


def _call_text(call: Mapping[str, Any]) -> str:
    try:
        function = call["function"]
        arguments = function["arguments"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        return well_formed(f"{function['name']}({json.dumps(arguments, ensure_ascii=False)})")
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"A tool call in the messages is not in OpenAI's form: {error!r}") from error
