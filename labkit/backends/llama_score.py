"""Log-likelihood from llama.cpp's server, which scores only what it writes: it is made to write the text.

A constraint forces the tokens, so this costs a decode step for each; prompts go through the slots together.
The probabilities that the server reports are the model's own, before the constraint.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Scorer:
    """post: post(route, **body) gives the server's answer."""

    def __init__(self, post: Callable[..., Any]):
        self._post = post

    def scores(self, prompts: Sequence[list[int]], text: str) -> list[float]:
        """Sum of log P(token | before) (nats) over `text` after each prompt."""
        tokens, shown = self._tokens(text)
        written = self._forced(prompts, tokens, 1) if any(shown) else [[] for _ in prompts]
        totals = [sum(token["logprob"] for token in answer) for answer in written]
        for i in (i for i, is_shown in enumerate(shown) if not is_shown):
            after = self._whole_distribution([prompt + tokens[:i] for prompt in prompts])
            totals = [total + found[tokens[i]] for total, found in zip(totals, after, strict=True)]
        return totals

    def _tokens(self, text: str) -> tuple[list[int], list[bool]]:
        """(ids, whether the server reports each): one that leaves a character unfinished it keeps to itself."""
        found = self._post("/tokenize", content=text, add_special=False, parse_special=False,
                           with_pieces=True)["tokens"]
        written, shown = b"", []
        for token in found:
            piece = token["piece"]
            written += piece.encode() if isinstance(piece, str) else bytes(piece)
            shown.append(written.decode(errors="ignore").encode() == written)
        return [token["id"] for token in found], shown

    def _whole_distribution(self, prompts: Sequence[list[int]]) -> list[dict[int, float]]:
        """Log-probability of every token after each prompt: megabytes, so only where there is no other way."""
        [any_whole_token], _ = self._tokens("a")
        answers = self._forced(prompts, [any_whole_token], n_probs=2**20)
        return [{token["id"]: token["logprob"] for token in answer[0]["top_logprobs"]} for answer in answers]

    def _forced(self, prompts: Sequence[list[int]], tokens: list[int], n_probs: int) -> list[list[dict[str, Any]]]:
        """What the server says of each token, after each prompt."""
        grammar = f"%llguidance {{}}\nstart: {' '.join(f'<[{token}]>' for token in tokens)}"
        answers = self._post("/completion", prompt=prompts, grammar=grammar, n_predict=len(tokens), n_probs=n_probs,
                             temperature=0, top_k=1, samplers=["top_k"])
        answers = answers if isinstance(answers, list) else [answers]
        return [answer["completion_probabilities"] for answer in sorted(answers, key=lambda answer: answer["index"])]
