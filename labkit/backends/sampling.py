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
        weights = np.exp((logits - logits.max()) / self.temperature, dtype=np.float64)
        order = self._nucleus(weights)
        weights = weights[order]
        return int(self.random.choice(order, p=weights / weights.sum()))

    def _nucleus(self, weights: np.ndarray) -> np.ndarray:
        """The fewest tokens, likeliest first, whose share of the probability reaches top_p."""
        order = np.argsort(-weights, kind="stable")
        share = np.cumsum(weights[order]) / weights.sum()
        return order[:int(np.searchsorted(share, self.top_p)) + 1]
