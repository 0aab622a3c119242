"""Answers that obey a constraint, on any runtime: enforced where it can, validated and repaired where not.

Three ways, chosen by the backend's probed capabilities:

- enforce: the runtime masks tokens while decoding.
- continue: it cannot, but goes on from a given beginning. The valid part of what it wrote is kept, what
  must come next is written for it, and it is asked to go on from there.
- ask again: it can do neither. Its answer is checked, and it is told what was wrong.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labkit.backends import guidance
from labkit.backends.base import Backend, Capabilities, Chunk, Request
from labkit.backends.reply import Usage
from labkit.errors import IncompleteOutput
from labkit.tools import json_schema
from labkit.tools.calling import with_instructions

TRIES = 3  # of a model that is told what was wrong
_ENDINGS = b'"}],:0123456789'  # what brings a JSON value nearest to its end, in this order
_EOS = 256  # llguidance's byte tokenizer: 256 bytes, then special tokens


def way(capabilities: Capabilities, kind: str = "json_schema") -> str:
    """How a constraint of this kind is kept: "enforce", "continue" or "ask again"."""
    if kind in capabilities.constraints:
        return "enforce"
    return "continue" if capabilities.continues else "ask again"


def generate(backend: Backend, request: Request) -> Iterator[Chunk]:
    """The backend's answer, obeying the request's constraint. Raises IncompleteOutput when that failed."""
    if request.constraint is None:
        yield from backend.generate(request)
        return
    guidance.check(request.constraint)
    how = {"enforce": backend.generate, "continue": lambda r: _Continued(backend, r).run(),
           "ask again": lambda r: _asked_again(backend, r)}
    yield from how[way(backend.capabilities, request.constraint.kind)](request)


class _Continued:
    """One answer, written by the model as far as it is valid, and by the constraint where it is not."""

    def __init__(self, backend: Backend, request: Request):
        self.backend, self.request = backend, replace(request, constraint=None)
        self.matcher = guidance.byte_matcher(request.constraint)
        self.written, self.shown, self.usage = b"", 0, Usage()

    def run(self) -> Iterator[Chunk]:
        self._force()
        while not self._over():
            before = len(self.written)
            yield from self._listen()
            if len(self.written) == before and not self._over():
                self._take_a_step()
        reason = "stop" if self.matcher.is_stopped() else "length"
        yield Chunk(self._new_text(), 0, reason, self.usage)

    def _over(self) -> bool:
        return self.matcher.is_stopped() or self._left() <= 0

    def _left(self) -> int:
        return self.request.max_tokens - self.usage.completion_tokens

    def _listen(self) -> Iterator[Chunk]:
        """Let the model go on, up to its first byte that is not allowed."""
        already, answer = self.usage, self.backend.generate(self._request())
        tokens = 0
        try:
            for chunk in answer:
                tokens += chunk.tokens
                now = chunk.usage or Usage(already.prompt_tokens)
                self.usage = Usage(max(now.prompt_tokens, already.prompt_tokens),
                                   already.completion_tokens + tokens, max(now.cached_tokens, already.cached_tokens))
                whole = self._accept(chunk.text.encode())
                yield Chunk(self._new_text(), chunk.tokens, usage=self.usage)
                if not whole or self._over():
                    return
        finally:
            answer.close()

    def _request(self) -> Request:
        return replace(self.request, prefix=self.written.decode(errors="ignore"), max_tokens=self._left())

    def _accept(self, data: bytes) -> bool:
        """Take the valid beginning of `data` and what it forces; whether all of `data` was valid."""
        valid = self.matcher.validate_tokens(list(data))
        kept = data[:valid].decode(errors="ignore").encode()  # whole characters only
        self._write(kept)
        if kept == data:
            return True
        self._force()
        return False

    def _force(self) -> None:
        """Write what must come next, if only one thing can."""
        self._write(self.matcher.compute_ff_bytes())

    def _write(self, data: bytes) -> None:
        if data:
            self.matcher.consume_tokens(list(data))
            self.written += data

    def _take_a_step(self) -> None:
        """Where the model's own next word is not allowed: its likeliest one that is, else the nearest end."""
        self.usage += Usage(completion_tokens=1)  # so that max_tokens ends this too
        likely = (text.encode() for text, _ in self.backend.next_tokens(self._request()))
        fits = next((data for data in likely if self.matcher.validate_tokens(list(data))), None)
        self._accept(fits or bytes([self._nearest_end()]))
        self._force()

    def _nearest_end(self) -> int:
        import numpy as np
        mask = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")[:_EOS])
        return next((byte for byte in _ENDINGS if byte in allowed), int(allowed[0]))

    def _new_text(self) -> str:
        text = self.written[self.shown:].decode(errors="ignore")
        self.shown += len(text.encode())
        return text


def _asked_again(backend: Backend, request: Request) -> Iterator[Chunk]:
    """Ask, check, and say what was wrong, up to TRIES times. The text comes whole, when it is right."""
    plain = replace(request, constraint=None, messages=with_instructions(
        request.messages, f"Answer with nothing but JSON that fits this schema: {request.constraint.text}"))
    usage, wrong = Usage(), ""
    for _ in range(TRIES):
        text, last = "", Chunk()
        for last in backend.generate(plain):
            text += last.text
            yield Chunk("", last.tokens)
        usage += last.usage or Usage()
        if last.finish_reason == "length":
            yield Chunk(text, 0, "length", usage)
            return
        found, wrong = _checked(text, request.constraint.text)
        if not wrong:
            yield Chunk(json.dumps(found, ensure_ascii=False), 0, "stop", usage)
            return
        plain = replace(plain, messages=[*plain.messages, {"role": "assistant", "content": text},
                                         {"role": "user", "content": f"{wrong} Answer with the right JSON only."}])
    raise IncompleteOutput(f"No valid result in {TRIES} tries: {wrong} {backend.name} cannot be held to a schema, "
                           "and this model does not keep to one when asked. Use a runtime that can, or a larger model.")


def _checked(text: str, schema: str) -> tuple[Any, str]:
    """(the JSON value in a text, what is wrong with it or "")."""
    jsonschema = json_schema.library()
    start = min((at for at in (text.find(c) for c in "{[\"") if at >= 0), default=0)
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:].strip() or text)
        jsonschema.validate(value, json.loads(schema))
    except ValueError as error:
        return None, f"That was no JSON ({error})."
    except jsonschema.ValidationError as error:
        return None, f"That does not fit the schema at {error.json_path}: {error.message[:200]}."
    return value, ""
