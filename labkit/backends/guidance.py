"""Constraints enforced while decoding, by llguidance: which tokens may come next, and which must."""
from __future__ import annotations

import weakref
from functools import lru_cache

import numpy as np

from labkit.errors import BadRequest
from labkit.tools.constraint import Constraint

PROBES = {
    "json_schema": '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}',
    "lark": 'start: "a" | "b"',
    "regex": "[0-9]+",
}
_tokenizers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def matcher(engine, constraint: Constraint):
    """A fresh matcher for one generation. Raises BadRequest when the constraint cannot be compiled."""
    return _fresh(_tokenizer(engine), constraint)


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
    return frozenset(kind for kind, text in PROBES.items()
                     if not _compiled(tokenizer, Constraint(kind, text)).is_error())


def _tokenizer(engine):
    """llguidance's view of the vocabulary: 0.2 to 0.7 s to build, so once for all engines of the same weights."""
    if engine.weights not in _tokenizers:
        from llguidance.llamacpp import lltokenizer_from_vocab
        _tokenizers[engine.weights] = lltokenizer_from_vocab(engine.vocab)
    return _tokenizers[engine.weights]


def check(constraint: Constraint) -> None:
    """Raise BadRequest when no answer can obey the constraint, or it cannot be compiled."""
    from llguidance import LLMatcher
    if error := LLMatcher.validate_grammar(_grammar(constraint), None):
        raise BadRequest(f"This schema cannot be enforced: {_reason(error)}")


def byte_matcher(constraint: Constraint):
    """A fresh matcher that takes UTF-8 bytes for tokens: for text, whatever a model's vocabulary is."""
    return _fresh(_bytes(), constraint)


def _fresh(tokenizer, constraint: Constraint):
    compiled = _compiled(tokenizer, constraint)
    if compiled.is_error():
        raise BadRequest(f"This schema cannot be enforced: {_reason(compiled.get_error())}")
    return compiled.deep_copy()


@lru_cache(maxsize=1)
def _bytes():
    from llguidance import LLTokenizer
    return LLTokenizer("byte")


@lru_cache(maxsize=256)
def _compiled(tokenizer, constraint: Constraint):
    from llguidance import LLMatcher
    return LLMatcher(tokenizer, _grammar(constraint), log_level=0)


def _grammar(constraint: Constraint) -> str:
    from llguidance import LLMatcher
    return {
        "json_schema": LLMatcher.grammar_from_json_schema,
        "lark": LLMatcher.grammar_from_lark,
        "regex": LLMatcher.grammar_from_regex,
    }[constraint.kind](constraint.text)
