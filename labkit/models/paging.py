"""PagedAttention's bookkeeping: which answer holds which block of the KV cache.

After Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention"
(SOSP 2023), as vLLM does it: memory is handed out in blocks of a few tokens when they are needed, and
prompts that begin alike share their full blocks. A model of the bookkeeping only; it computes no attention.
"""
from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

BLOCK_TOKENS = 16  # vLLM's usual block on a GPU


@dataclass
class Block:
    """One block of memory: who uses it, and how many of its places are filled."""

    number: int
    holders: list[str] = field(default_factory=list)
    filled: int = 0


class BlockTable:
    """Memory of `blocks` blocks of `block_tokens` tokens, and the answers that hold them."""

    def __init__(self, blocks: int, block_tokens: int = BLOCK_TOKENS, share: bool = True):
        self.blocks = [Block(number) for number in range(blocks)]
        self.block_tokens, self.share = block_tokens, share
        self.of: dict[str, list[Block]] = {}            # the table: an answer's blocks, in order
        self._known: dict[tuple, Block] = {}            # full blocks by all the text up to their end

    def admit(self, name: str, tokens: Sequence[Hashable]) -> bool:
        """Give an answer the blocks for its prompt. False, and nothing changes, when there are too few free."""
        shared, n = self._found(tokens), self.block_tokens
        chunks = [tuple(tokens[at:at + n]) for at in range(len(shared) * n, len(tokens), n)]
        free = [block for block in self.blocks if not block.holders]
        if len(chunks) > len(free):
            return False
        for block in shared:
            block.holders.append(name)
        self.of[name] = [*shared, *(self._take(block, name, len(chunk)) for block, chunk in zip(free, chunks))]
        self._learn(name, tokens)
        return True

    def append(self, name: str) -> bool:
        """One token more for an answer. False when that needs a block and none is free."""
        last = self.of[name][-1]
        if last.filled < self.block_tokens:
            last.filled += 1
            return True
        free = next((block for block in self.blocks if not block.holders), None)
        if free:
            self.of[name].append(self._take(free, name, 1))
        return free is not None

    def release(self, name: str) -> None:
        """An answer is done: its blocks are free, but for those that others share."""
        for block in self.of.pop(name):
            block.holders.remove(name)
            if not block.holders:
                block.filled = 0
                self._known = {text: known for text, known in self._known.items() if known is not block}

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return sum(bool(block.holders) for block in self.blocks)

    @property
    def wasted(self) -> int:
        """Places (tokens) in held blocks that hold nothing."""
        return sum(self.block_tokens - block.filled for block in self.blocks if block.holders)

    def _found(self, tokens: Sequence[Hashable]) -> list[Block]:
        """The full blocks that this text begins with and that are in memory already."""
        found: list[Block] = []
        while self.share and (block := self._known.get(self._text(tokens, len(found) + 1))):
            found.append(block)
        return found

    def _text(self, tokens: Sequence[Hashable], blocks: int) -> tuple | None:
        end = blocks * self.block_tokens
        return tuple(tokens[:end]) if end <= len(tokens) else None

    def _learn(self, name: str, tokens: Sequence[Hashable]) -> None:
        for count, block in enumerate(self.of[name], 1):
            if (text := self._text(tokens, count)) is not None:
                self._known.setdefault(text, block)

    def _take(self, block: Block, name: str, filled: int) -> Block:
        block.holders, block.filled = [name], filled
        return block
