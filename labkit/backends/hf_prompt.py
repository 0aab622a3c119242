"""Prompts for a model in a Hugging Face folder: its chat template, its tokenizer, its context length.

For servers that take a prompt as text or tokens. What a user writes never becomes a part of the template,
which a server that renders the template itself cannot promise.
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, ModelFileError
from labkit.tools.messages import well_formed

_APART = "\u200b"  # a zero-width space


class HFPrompt:
    """The prompt side of a model folder. Raises ModelFileError for a folder that is none."""

    config_file = "config.json"

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        missing = [name for name in (self.config_file, "tokenizer.json") if not (self.folder / name).is_file()]
        if missing:
            raise ModelFileError(f"{self.folder.name} is no model folder: it has no {missing[0]}. Give a folder in "
                                 "Hugging Face's form, or leave the model out for the embedded one.")

    @cached_property
    def context_tokens(self) -> int:
        """The longest prompt with its answer that the model was made for."""
        return int(self._json("config.json")["max_position_embeddings"])

    @cached_property
    def tokenizer(self):
        """The folder's tokenizer as llguidance reads it, without its special tokens: about 0.5 s to build.

        With them it would take a user who types <|im_end|> to have ended the turn.
        """
        from llguidance import LLTokenizer
        return LLTokenizer(json.dumps({**self._json("tokenizer.json"), "added_tokens": []}))

    @cached_property
    def specials(self) -> dict[str, int]:
        """The texts that stand for one token each, such as <|im_end|>, with its id."""
        return {token["content"]: token["id"] for token in self._json("tokenizer.json").get("added_tokens", [])}

    @property
    def name(self) -> str:
        """How the model is called: what a folder of labkit's own says of its origin is left out."""
        return self.folder.name.split("-from-")[0].replace(".", " ", 1)

    def read(self, token: int) -> str:
        """The text of one token; nothing for a special one or half a character."""
        try:
            return "" if token in self.specials.values() else self.tokenizer.decode_bytes([token]).decode()
        except UnicodeDecodeError:
            return ""

    def count(self, text: str) -> int:
        """Length of `text` in tokens, where what looks like a special token is text."""
        return len(self.tokenizer.tokenize_str(text))

    def tokens(self, messages: Sequence[dict[str, Any]], prefix: str = "") -> list[int]:
        """The prompt as token ids, up to where the answer begins, and `prefix` as its beginning."""
        found: list[int] = []
        for text, special in [*self._parts(messages), (prefix, False)]:
            pieces = self._specials_in.split(text) if special and self.specials else [text]
            for piece in filter(None, pieces):
                known = self.specials.get(piece) if special else None
                found += self.tokenizer.tokenize_str(piece) if known is None else [known]
        return found

    @cached_property
    def _specials_in(self) -> re.Pattern:
        longest_first = sorted(self.specials, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def text(self, messages: Sequence[dict[str, Any]], prefix: str = "") -> str:
        """The prompt as text, for servers that take no ids.

        There a special token's text is the token, whoever wrote it. What a user wrote like one gets a
        zero-width space within.
        """
        parts = [*self._parts(messages), (prefix, False)]
        return "".join(text if special else self.harmless(text) for text, special in parts)

    def harmless(self, text: str) -> str:
        """A user's text for a server that would read a special token in it: a zero-width space breaks each."""
        if not self.specials:
            return text
        return self._specials_in.sub(lambda found: found[0][:1] + _APART + found[0][1:], text)

    def _parts(self, messages: Sequence[dict[str, Any]]) -> list[tuple[str, bool]]:
        """(text, whether it is the template's own), in order."""
        marked = {f"\ue000{i}\ue001": message for i, message in enumerate(messages)}
        rest, parts = self._render([{**message, "content": mark} for mark, message in marked.items()]), []
        for mark, message in marked.items():
            before, found, rest = rest.partition(mark)
            if not found:
                raise BadRequest(f"The chat template of {self.folder.name} has no place for a "
                                 f"{message['role']!r} message.")
            parts += [(before, True), (well_formed(message["content"]), False)]
        return [*parts, (rest, True)]

    def _render(self, messages: list[dict[str, Any]]) -> str:
        from jinja2 import TemplateError
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._named_tokens)
        except (TemplateError, ValueError) as error:  # a template's own rules, e.g. that roles must alternate
            raise BadRequest(f"The chat template of {self.folder.name} refuses these messages: {error}") from error

    @cached_property
    def _template(self):
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        file = self.folder / "chat_template.jinja"
        source = file.read_text(encoding="utf-8") if file.is_file() else self._config.get("chat_template")
        if not isinstance(source, str):
            raise BadRequest(f"{self.folder.name} has no chat template: it is a base model, not made for chat.")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: f"{datetime.now():{form}}"}
        return environment.from_string(source)

    @cached_property
    def _named_tokens(self) -> dict[str, str]:
        named = ((name, self._config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token"))
        return {name: token["content"] if isinstance(token, dict) else token for name, token in named if token}

    @cached_property
    def _config(self) -> dict[str, Any]:
        return self._json("tokenizer_config.json")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ModelFileError(f"{name} in {self.folder.name} cannot be read: {error}") from error


def _refuse(message: str):
    from jinja2 import TemplateError
    raise TemplateError(message)
