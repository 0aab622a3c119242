"""Constraints enforced while decoding, by llguidance: which tokens may come next, and which must."""
from __future__ import annotations

import weakref
from functools import lru_cache

import numpy as np

from labkit.errors import BadRequest
from labkit.tools.constraint import Constraint

_PROBES = {
    "json_schema": '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}',
    "lark": 'start: "a" | "b"',
    "regex": "[0-9]+",
}
_tokenizers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def matcher(engine, constraint: Constraint):
    """A fresh matcher for one generation. Raises BadRequest when the constraint cannot be compiled."""
    compiled = _compiled(_tokenizer(engine), constraint)
    if compiled.is_error():
        raise BadRequest(f"This schema cannot be enforced: {_reason(compiled.get_error())}")
    return compiled.deep_copy()


def _reason(error: str) -> str:
    """What was wrong: the first line, or for a regular expression the one that says it."""
    lines = error.splitlines()
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])


def mask(matcher, logits: np.ndarray) -> None:
    """Set the logits of tokens that may not come next to -inf, in place."""
    bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    allowed = np.unpackbits(bits, bitorder="little", count=len(logits)).view(bool)
    logits[~allowed] = -np.inf


def kinds(engine) -> frozenset[str]:
    """The kinds of constraint that compile for this model's vocabulary."""
    tokenizer = _tokenizer(engine)
    return frozenset(kind for kind, text in _PROBES.items()
                     if not _compiled(tokenizer, Constraint(kind, text)).is_error())


def _tokenizer(engine):
    """llguidance's view of the vocabulary: about 0.2 s to build, so once per engine."""
    if engine not in _tokenizers:
        from llguidance.llamacpp import lltokenizer_from_vocab
        _tokenizers[engine] = lltokenizer_from_vocab(engine.vocab)
    return _tokenizers[engine]


@lru_cache(maxsize=256)
def _compiled(tokenizer, constraint: Constraint):
    from llguidance import LLMatcher
    grammar = {
        "json_schema": LLMatcher.grammar_from_json_schema,
        "lark": LLMatcher.grammar_from_lark,
        "regex": LLMatcher.grammar_from_regex,
    }[constraint.kind](constraint.text)
    return LLMatcher(tokenizer, grammar, log_level=0)
