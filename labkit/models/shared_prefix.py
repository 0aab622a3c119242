"""Several short turns after one beginning, in one pass: the beginning is read once, each turn sees it and itself.

A batch is a flat row of tokens. For attention, tokens are gathered into blocks of like length: the beginnings, and
the turns by length, each with the places of what stands before it. So little is computed that is masked away: with
eight turns after a beginning, two fifths of what a square mask over the whole row would take.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch

TURNS = 8  # about as many in a block


@dataclass(frozen=True)
class Block:
    """n sequences of N tokens, after M tokens each: places (n, N) and (n, M) in the row, mask (n, 1, 1, N, M + N)."""

    own: torch.Tensor
    before: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class Row:
    """ids, positions: (1, tokens). inputs: places from which an answer's next token, in targets, is to be guessed."""

    ids: torch.Tensor
    positions: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor
    blocks: tuple[Block, ...]

    def to(self, device) -> Row:
        moved = [part.to(device) for part in (self.ids, self.positions, self.inputs, self.targets)]
        return Row(*moved, tuple(Block(*(x.to(device) for x in (b.own, b.before, b.mask))) for b in self.blocks))


def row(batch: list[dict]) -> Row:
    """A batch of {"first": ids, "turns": [(question ids, answer ids)]} as one row, its length a multiple of 64."""
    ids, positions, inputs, targets, heads, turns = [], [], [], [], [], []

    def put(tokens: list[int], at: int) -> list[int]:
        begin = len(ids)
        ids.extend(tokens)
        positions.extend(range(at, at + len(tokens)))
        return list(range(begin, len(ids)))
    for group in batch:
        heads.append((head := put(group["first"], 0), []))
        for ask, answer in group["turns"]:
            own = put([*ask, *answer], len(head))
            turns.append((own, head))
            inputs += own[len(ask) - 1:-1]
            targets += answer
    pad = len(ids)  # the token that stands for none
    put([0] * (1 + -(pad + 1) % 64), 0)
    turns.sort(key=lambda turn: len(turn[0]))
    blocks = [block(heads, pad), *(block(turns[i:i + TURNS], pad) for i in range(0, len(turns), TURNS))]
    whole = (torch.tensor(part) for part in ([ids], [positions], inputs, targets))
    return Row(*whole, tuple(blocks))


def block(sequences: list[tuple[list[int], list[int]]], pad: int) -> Block:
    own, before = (padded([sequence[side] for sequence in sequences], pad) for side in (0, 1))
    n, width = own.shape
    seen = torch.cat([before != pad, own != pad], 1)[:, None, :].repeat(1, width, 1)
    past = torch.ones(width, width, dtype=torch.bool).tril()
    seen[:, :, before.shape[1]:] &= past
    seen[:, range(width), range(before.shape[1], before.shape[1] + width)] = True  # a pad sees itself: no empty sums
    mask = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, torch.finfo(torch.bfloat16).min)
    return Block(own, before, mask[:, None, None])


def padded(places: list[list[int]], pad: int) -> torch.Tensor:
    width = -(-max(map(len, places)) // 16) * 16  # few shapes: each new one costs time on a processor
    return torch.tensor([part + [pad] * (width - len(part)) for part in places], dtype=torch.long)


def attend(module, q, k, v, mask, scaling: float, blocks: tuple[Block, ...], **_):
    """Attention of q (1, heads, tokens, size) to k and v, which have fewer heads, block by block."""
    (_, heads, tokens, size), shared = q.shape, k.shape[1]
    q, k, v = ((part[0].transpose(0, 1).reshape(tokens, -1)) for part in (q * scaling, k, v))
    found = torch.zeros_like(q)
    for part in blocks:
        n, width = part.own.shape
        seen = torch.cat([part.before, part.own], 1)
        asks = pick(q, part.own).view(n, width, shared, -1, size).permute(0, 2, 3, 1, 4)
        keys, values = (pick(x, seen).view(n, -1, shared, size).transpose(1, 2) for x in (k, v))
        scores = torch.matmul(asks.reshape(n, shared, -1, size), keys.transpose(-1, -2))
        weights = torch.softmax(scores.view(*asks.shape[:4], -1) + part.mask, -1)
        sums = torch.matmul(weights.view(n, shared, -1, seen.shape[1]), values).view(asks.shape)
        found = found.index_copy(0, part.own.flatten(), sums.permute(0, 3, 1, 2, 4).reshape(n * width, heads * size))
    return found.view(1, tokens, heads, size), None


def pick(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return x.index_select(0, places.flatten())
