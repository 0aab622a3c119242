"""Start mlx_lm.server. Runs in MLX's own environment, and imports nothing of labkit's.

Two things are mended on the way. Asked to go on from exactly what it has in its prompt cache, mlx_lm 0.32
has no token left to read, and its only generating thread dies of that: the last token is read again. And
it drops a space at the start of what it writes, which is a part of the text when that goes on from another.
"""
from __future__ import annotations

from mlx_lm import server
from mlx_lm.models.cache import LRUPromptCache, can_trim_prompt_cache, trim_prompt_cache
from mlx_lm.tokenizer_utils import BPEStreamingDetokenizer

nearest = LRUPromptCache.fetch_nearest_cache


def nearest_but_not_all(self, model, tokens):
    """What the prompt cache has of `tokens`, at most all but the last one."""
    cache, rest = nearest(self, model, tokens)
    if rest or not tokens:
        return cache, rest
    if not can_trim_prompt_cache(cache):
        return None, tokens
    trim_prompt_cache(cache, 1)
    return cache, tokens[-1:]


LRUPromptCache.fetch_nearest_cache = nearest_but_not_all
BPEStreamingDetokenizer._maybe_trim_space = lambda self, text: text

if __name__ == "__main__":
    server.main()
