"""Requests in the words of llama.cpp's server: the prompt as token ids, the options, the constraint.

The prompt is not left to the server's chat route, which takes a user who types <|im_end|> to have ended the turn.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from labkit.backends.base import Request
from labkit.errors import BadRequest
from labkit.tools.constraint import Constraint
from labkit.tools.messages import well_formed


class Prompts:
    """post: post(route, **body) gives the server's answer. model: its name, for messages."""

    def __init__(self, post: Callable[..., Any], model: str):
        self._post, self._model = post, model
        self._template = lru_cache(maxsize=64)(self._template_for)

    def tokens(self, messages: Sequence[dict[str, Any]], prefix: str = "") -> list[int]:
        """The chat template over the messages, and `prefix` as the beginning of the answer."""
        between = self._template(tuple(message["role"] for message in messages))
        mixed: list[int | str] = list(between[0])
        for message, after in zip(messages, between[1:], strict=True):
            mixed += [message["content"], *after]
        return self.tokenize([*mixed, prefix])

    def tokenize(self, mixed: Sequence[int | str], special: bool = False) -> list[int]:
        """Texts and ids as ids. With `special`, control tokens such as <|im_end|> are read as such."""
        parts = [well_formed(part) if isinstance(part, str) else part for part in mixed]
        return self._post("/tokenize", content=parts, add_special=False, parse_special=special)["tokens"]

    def _template_for(self, roles: tuple[str, ...]) -> list[list[int]]:
        """The template's own tokens before, between and after the contents of messages with these roles.

        A template looks at roles only, so this is asked once per sequence of roles.
        """
        marked = [{"role": role, "content": f"\ue000{i}\ue001"} for i, role in enumerate(roles)]
        rest, parts = self._post("/apply-template", messages=marked)["prompt"], []
        for message in marked:
            before, found, rest = rest.partition(message["content"])
            if not found:
                raise BadRequest(f"The chat template of {self._model} has no place for a {message['role']!r} message.")
            parts.append(before)
        return [self.tokenize([part], special=True) for part in [*parts, rest]]


def sampling(request: Request) -> dict[str, Any]:
    """Greedy, or temperature and then top-p; the server's own defaults would cut off more."""
    if request.temperature < 1e-30:  # it reckons in 32 bits
        return {"temperature": 0.0, "top_k": 1, "samplers": ["top_k"]}
    seed = {} if request.seed is None else {"seed": request.seed % 2**32, "cache_prompt": False}
    # A cached prompt was summed in other portions; the last digits can tip a draw, and a seed promises the same.
    return {"temperature": request.temperature, "top_p": request.top_p, "top_k": 0, "min_p": 0.0,
            "samplers": ["temperature", "top_p"], **seed}


def constrained(constraint: Constraint | None) -> dict[str, str]:
    """llama.cpp's own converter keeps a part of JSON schema; llguidance, which is built in, keeps all of it."""
    if constraint is None:
        return {}
    start = {"json_schema": "start: %json {}", "lark": "{}", "regex": "start: /{}/"}[constraint.kind]
    text = constraint.text
    if constraint.kind == "regex":  # between slashes, on one line
        text = re.sub(r"\\.|/|\n", lambda found: {"/": r"\/", "\n": r"\n"}.get(found[0], found[0]), text)
    return {"grammar": "%llguidance {}\n" + start.replace("{}", text)}
