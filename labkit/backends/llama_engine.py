"""llama.cpp in this process: weights, one context, and its KV cache shared by many conversations.

Knows tokens and logits only; messages, text and constraints are llama_cpp.py's.

The context holds up to SLOTS token sequences. A request reuses the longest prefix that any
sequence already holds (shared, not copied), so a second turn, or a second request over the same
instructions and tools, pays only for what is new. A slot belongs to whoever used it last: a
generation that lost its slot, or stands half-read in another cell, prefills again when it goes on.
Nobody waits for anybody longer than one step: a token, or BATCH tokens of a prompt.
"""
from __future__ import annotations

import ctypes
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labkit.backends import llama_adapter
from labkit.errors import BadRequest, ContextFull, LabkitError, ModelFileError
from labkit.models.llama import captured_log, library, turn_lock

SLOTS = 24    # sequences; they share the context's cells, so a slot costs nothing until used
HELD = 512    # tokens of sequences that are over, kept: attention pays for every cell in use
MIN_CONTEXT = 256
BATCH = 512   # tokens evaluated at a time in prefill; also how soon an interrupt is heard


@dataclass
class Slot:
    """One sequence in the KV cache. `tokens` never claims more than the cache holds."""

    seq: int
    tokens: list[int] = field(default_factory=list)
    owner: int = 0   # the generation that is using it, 0 when that is over
    used: int = 0    # when, on the engine's own clock


def common_prefix(a: list[int], b: list[int]) -> int:
    """How many leading tokens two sequences share, by bisection: list slices compare at C speed."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Weights:
    """A GGUF's tensors in memory; freed with the last engine that uses them."""

    def __init__(self, path: Path, gpu_layers: int):
        self.c, self.path = library(), path
        self.model = _load(self.c, path, gpu_layers)
        self.adapters: dict[tuple, int] = {}  # llama.cpp frees them with the model
        weakref.finalize(self, self.c.llama_model_free, self.model).atexit = False  # a thread may still use it


class Engine:
    """A context over some weights, with an adapter or without. Every public method is safe from any thread."""

    def __init__(self, weights: Weights, context_length: int, threads: int, adapter: Path | None = None):
        self.weights, self.c, self.path = weights, weights.c, weights.path
        self._lock = turn_lock()
        self._clock = itertools.count(1)
        self.vocab = self.c.llama_model_get_vocab(weights.model)
        self.n_vocab = self.c.llama_vocab_n_tokens(self.vocab)
        trained = self.c.llama_model_n_ctx_train(weights.model)
        self.context_length, self.threads = min(context_length or trained, trained), threads
        if self.context_length < MIN_CONTEXT:
            raise BadRequest(f"context_length={context_length}: use at least {MIN_CONTEXT} tokens.")
        self._ctx = self._new_context(threads)
        if adapter:
            llama_adapter.attach(self.c, weights, self._ctx, adapter)
        self._memory = self.c.llama_get_memory(self._ctx)
        self._batch = self.c.llama_batch_init(BATCH, 0, 1)
        self._slots = [Slot(seq) for seq in range(SLOTS)]
        # The weights are among the arguments so that they outlive the context.
        weakref.finalize(self, _free, self.c, self._batch, self._ctx, weights).atexit = False

    def _new_context(self, threads: int):
        params = self.c.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = self.context_length, SLOTS, True
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = self.c.LLAMA_FLASH_ATTN_TYPE_ENABLED  # skips other slots' cells
        params.no_perf = True
        context = self.c.llama_init_from_model(self.weights.model, params)
        if not context:
            raise LabkitError(f"No memory for {self.context_length} tokens: connect with less context_length=.")
        return context

    # -- tokens ----------------------------------------------------------------------------

    def tokenize(self, text: str, special: bool = False) -> list[int]:
        """Token ids of `text`. With `special`, control tokens such as <|im_end|> are read as such."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        ids = (self.c.llama_token * room)()
        count = self.c.llama_tokenize(self.vocab, raw, len(raw), ids, room, False, special)
        return ids[:count]

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes of one token; may be part of a character. Control tokens only with `special`."""
        buffer = ctypes.create_string_buffer(256)
        count = self.c.llama_token_to_piece(self.vocab, token, buffer, 256, 0, special)
        return buffer.raw[:max(count, 0)]

    def ends(self, token: int) -> bool:
        """Whether the model says with this token that it is done."""
        return bool(self.c.llama_vocab_is_eog(self.vocab, token))

    def metadata(self, key: str) -> str | None:
        """A value of the GGUF header as text."""
        buffer = ctypes.create_string_buffer(32768)
        count = self.c.llama_model_meta_val_str(self.weights.model, key.encode(), buffer, 32768)
        return buffer.raw[:count].decode("utf-8", "replace") if count >= 0 else None

    # -- evaluating ------------------------------------------------------------------------

    def evaluate(self, tokens: list[int], owner: int, pick) -> tuple[int, int]:
        """Bring `tokens` into the cache and call `pick(logits)` on the last one's logits.

        logits: float32 array of n_vocab, llama.cpp's own buffer, valid and writable during `pick`.
        Returns (what pick returned, how many tokens were already cached).
        """
        with self._lock:
            slot, cached = self._claim(tokens, owner)
            self._decode(slot, tokens[cached:])
            return pick(self._logits(-1)), cached

    def prefill(self, tokens: list[int], owner: int) -> tuple[int, bool]:
        """Bring the next BATCH of `tokens` into the cache; the last BATCH is left to `evaluate`.

        Returns (how many tokens were cached already, whether there was anything to do).
        """
        with self._lock:
            slot, cached = self._claim(tokens, owner)
            if len(tokens) - cached <= BATCH:
                return cached, False
            self._decode(slot, tokens[cached:cached + BATCH])
            return cached, True

    def start_afresh(self, owner: int) -> None:
        """Give a generation an empty slot, and the cache to itself where no other is in progress.

        It will reuse nothing, and lie where it lay before: so its sums round the same each time.
        """
        with self._lock:
            for slot in self._slots:
                if not slot.owner:
                    self._drop(slot)
            slot = self._least_needed(self._slots)
            self._drop(slot)
            slot.owner, slot.used = owner, next(self._clock)

    def release(self, owner: int) -> None:
        """The generation is over: what it left in the cache may go when room is needed."""
        for slot in self._slots:
            if slot.owner == owner:
                slot.owner = 0

    def score(self, prefix: list[int], text: list[int]) -> float:
        """Sum of log P(token | all before it) in nats over `text` after `prefix`."""
        if not text:
            return 0.0
        if len(prefix) + len(text) > self.context_length:
            raise ContextFull(len(prefix) + len(text), self.context_length)
        with self._lock:
            slot, cached = self._claim(prefix, owner=0)
            self._decode(slot, prefix[cached:-1])
            total = 0.0
            for start in range(0, len(text), BATCH):
                inputs = [prefix[-1], *text][start:start + BATCH]
                inputs, targets = inputs[:len(text) - start], text[start:start + BATCH]
                self._decode(slot, inputs, all_logits=True)
                total += sum(_log_softmax_at(self._logits(i), t) for i, t in enumerate(targets))
            slot.tokens = slot.tokens[:len(prefix)]  # the prefix is what others will share
            self._truncate(slot)
            return total

    def window(self, tokens: list[int], first: int, take: Callable[[np.ndarray], object]) -> None:
        """Read `tokens` into an empty sequence and pass the logits of those from `first` on to `take`.

        In portions: float32, (positions, n_vocab), llama.cpp's own buffer, valid during `take`. Nothing stays cached.
        """
        if len(tokens) > self.context_length:
            raise ContextFull(len(tokens), self.context_length)
        with self._lock:
            slot = self._least_needed(self._slots)
            self._drop(slot)
            for start in range(0, len(tokens), BATCH):
                part = tokens[start:start + BATCH]
                wanted = range(max(first - start, 0), len(part))
                self._fill(slot, part, wanted)
                self._evaluate(slot, part)
                if wanted:
                    take(np.ctypeslib.as_array(self.c.llama_get_logits(self._ctx), shape=(len(wanted), self.n_vocab)))
            self._drop(slot)

    def _logits(self, i: int) -> np.ndarray:
        pointer = self.c.llama_get_logits_ith(self._ctx, i)
        return np.ctypeslib.as_array(pointer, shape=(self.n_vocab,))

    # -- the shared cache ------------------------------------------------------------------

    def _claim(self, tokens: list[int], owner: int) -> tuple[Slot, int]:
        """A slot that holds a prefix of `tokens`, cut to it, and that prefix's length.

        At least the last token is left to evaluate: its logits are wanted.
        """
        if len(tokens) > self.context_length:
            raise ContextFull(len(tokens), self.context_length)
        mine = next((s for s in self._slots if owner and s.owner == owner), None)
        best = mine or max(self._slots, key=lambda s: (common_prefix(s.tokens, tokens), s.used))
        keep = min(common_prefix(best.tokens, tokens), len(tokens) - 1)
        slot = best if mine or keep >= len(best.tokens) - 1 else self._share(best, keep)
        slot.owner, slot.used = owner, next(self._clock)
        slot.tokens = slot.tokens[:keep]
        self._truncate(slot)
        self._forget(slot)
        return slot, keep

    def _forget(self, slot: Slot) -> None:
        """Keep what was used last of the sequences that are over, up to HELD tokens and at least one."""
        others = sorted((s for s in self._slots if s is not slot and s.tokens and not s.owner),
                        key=lambda s: -s.used)
        held = 0
        for i, other in enumerate(others):
            held += len(other.tokens) - common_prefix(other.tokens, slot.tokens)  # what is shared lies there once
            if i and held > HELD:
                self._drop(other)

    def _share(self, source: Slot, length: int) -> Slot:
        """Give the least recently used slot the first `length` tokens of `source`, without copying."""
        slot = self._least_needed(s for s in self._slots if s is not source)
        self._drop(slot)
        if length:
            self.c.llama_memory_seq_cp(self._memory, source.seq, slot.seq, 0, length)
            slot.tokens = source.tokens[:length]
        return slot

    def _truncate(self, slot: Slot) -> None:
        # Also after an interrupt: the cache may hold more than `tokens` says, never less.
        self.c.llama_memory_seq_rm(self._memory, slot.seq, len(slot.tokens), -1)

    def _drop(self, slot: Slot) -> None:
        slot.tokens, slot.owner = [], 0
        self._truncate(slot)

    def _decode(self, slot: Slot, tokens: list[int], all_logits: bool = False) -> None:
        for start in range(0, len(tokens), BATCH):
            part = tokens[start:start + BATCH]
            last = start + len(part) == len(tokens)
            self._fill(slot, part, range(len(part)) if all_logits else range(len(part) - last, len(part)))
            self._evaluate(slot, part)

    def _fill(self, slot: Slot, part: list[int], wanted: range) -> None:
        """Write `part` into the batch; logits are computed for the places in `wanted`."""
        batch, position = self._batch, len(slot.tokens)
        batch.n_tokens = len(part)
        for i, token in enumerate(part):
            batch.token[i], batch.pos[i] = token, position + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, slot.seq
            batch.logits[i] = i in wanted

    def _evaluate(self, slot: Slot, part: list[int]) -> None:
        while (code := self.c.llama_decode(self._ctx, self._batch)) == 1:
            self._make_room(slot)
        if code:
            raise LabkitError(f"llama.cpp could not evaluate the prompt (code {code}).")
        slot.tokens += part

    def _make_room(self, keep: Slot) -> None:
        """The cells are used up: forget a sequence."""
        # The cache is asked, not `tokens`: after an interrupt it may hold cells that no slot claims.
        held = [s for s in self._slots
                if s is not keep and self.c.llama_memory_seq_pos_max(self._memory, s.seq) >= 0]
        if not held:
            raise ContextFull(len(keep.tokens) + self._batch.n_tokens, self.context_length)
        self._drop(self._least_needed(held))

    @staticmethod
    def _least_needed(slots: Iterable[Slot]) -> Slot:
        """The least recently used, those in the middle of an answer last."""
        return min(slots, key=lambda s: (s.owner != 0, s.used))


def _log_softmax_at(logits: np.ndarray, token: int) -> float:
    top = logits.max()
    return float(logits[token] - top - np.log(np.exp(logits - top).sum()))


def _free(c, batch, ctx, weights) -> None:
    c.llama_batch_free(batch)
    c.llama_free(ctx)


def _load(llama_cpp, path: Path, gpu_layers: int):
    if not Path(path).is_file():
        raise ModelFileError(f"There is no model file {path}. Name a .gguf file, or none for the default.")
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelFileError(f"{Path(path).name} is not a GGUF file.")
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    with captured_log() as log:
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ModelFileError(f"{Path(path).name} could not be loaded: {log.reason()}. Is the file whole?")
    return model


_weights: weakref.WeakValueDictionary[tuple, Weights] = weakref.WeakValueDictionary()
_engines: weakref.WeakValueDictionary[tuple, Engine] = weakref.WeakValueDictionary()
_registry = threading.Lock()


def shared_engine(path: Path, context_length: int, threads: int, gpu_layers: int = -1,
                  adapter: Path | None = None) -> Engine:
    """The one engine of this process for these settings; it lives as long as somebody holds it.

    Engines with other settings on the same file share its weights. One with an adapter has a cache of its own:
    what the model makes of a text is another thing with it. A file that was written anew, as an adapter is by another
    run of the training, is another file.
    """
    source = (*llama_adapter.as_it_is(path), gpu_layers)
    key = (*source, context_length, threads, adapter and llama_adapter.as_it_is(adapter))
    with _registry:
        if not (engine := _engines.get(key)):
            weights = _weights.get(source) or Weights(path, gpu_layers)
            _weights[source] = weights
            engine = _engines[key] = Engine(weights, context_length, threads, adapter)
        return engine
