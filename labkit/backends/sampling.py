"""From logits to the next token."""
from __future__ import annotations

import numpy as np


class Sampler:
    """Greedy at temperature 0; else temperature and nucleus (top-p) sampling from a seeded generator."""

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None):
        self.temperature, self.top_p = temperature, top_p
        self.random = np.random.default_rng(seed)

    def __call__(self, logits: np.ndarray) -> int:
        """logits: float32, one per token of the vocabulary; -inf for what is not allowed."""
        if self.temperature == 0:
            return int(logits.argmax())
        with np.errstate(over="ignore"):  # at 1e-300 all but the likeliest go to -inf, as they should
            scaled = (logits - logits.max()).astype(np.float64) / self.temperature
        weights = np.exp(scaled)
        order = self._nucleus(weights)
        weights = weights[order]
        return int(self.random.choice(order, p=weights / weights.sum()))

    def _nucleus(self, weights: np.ndarray) -> np.ndarray:
        """The fewest likeliest tokens, by id, whose share of the probability reaches top_p."""
        if self.top_p == 1:
            return np.flatnonzero(weights)
        # All tokens below this share together miss less than 1 - top_p: no need to sort them, and they are
        # nearly all of the vocabulary.
        candidates = np.flatnonzero(weights >= (1 - self.top_p) / len(weights) * weights.sum())
        order = candidates[np.argsort(-weights[candidates], kind="stable")]
        share = np.cumsum(weights[order]) / weights.sum()
        # By token id: two near-equal tokens that swap ranks from rounding must not swap draws.
        return np.sort(order[:int(np.searchsorted(share, self.top_p)) + 1])
