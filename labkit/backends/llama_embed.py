"""Text as vectors, by llama.cpp: the mean of the last layer's states over a text's tokens, scaled to length 1.

A chat model is not trained for this: near vectors mean texts that begin and go on alike more than texts
of one meaning. A context of its own, over the weights that are loaded anyway, is made on first use.
"""
from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence

import numpy as np

from labkit.backends.llama_engine import Engine
from labkit.errors import ContextFull, LabkitError
from labkit.models.llama import turn_lock

LONGEST = 2048  # tokens of one text
BATCH = 256     # tokens evaluated at a time: the library computes every token's scores, 200 kB each, beside its state
SEQUENCES = 32  # texts evaluated together at most
_embedders: weakref.WeakKeyDictionary[Engine, Embedder] = weakref.WeakKeyDictionary()
_making = threading.Lock()


class Embedder:
    """llama.cpp's context for embeddings. Safe to call from several threads."""

    def __init__(self, engine: Engine):
        self.c, self._lock = engine.c, turn_lock()
        self.limit = min(LONGEST, engine.context_length)
        self.width = self.c.llama_model_n_embd(engine.weights.model)
        params = self.c.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = self.limit, BATCH, BATCH
        params.n_seq_max, params.kv_unified = SEQUENCES, True
        params.n_threads = params.n_threads_batch = engine.threads
        # Pooled by llama.cpp, a text would have to be evaluated in one piece.
        params.embeddings, params.pooling_type = True, self.c.LLAMA_POOLING_TYPE_NONE
        params.flash_attn_type = self.c.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.no_perf = True
        self._ctx = self.c.llama_init_from_model(engine.weights.model, params)
        if not self._ctx:
            raise LabkitError(f"No memory for an embedding context of {self.limit} tokens.")
        self._batch = self.c.llama_batch_init(BATCH, 0, 1)
        # The weights are among the arguments so that they outlive the context.
        weakref.finalize(self, _free, self.c, self._batch, self._ctx, engine.weights).atexit = False

    def vectors(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One vector (length 1) per text, given as tokens. Raises ContextFull for one of more than `limit` tokens.

        Short texts are read together, each a sequence of its own: reading the weights takes longer than a few tokens.
        """
        if longest := max((len(tokens) for tokens in texts if len(tokens) > self.limit), default=0):
            raise ContextFull(longest, self.limit)
        sums: list[np.ndarray] = []
        with self._lock:
            for group in _together(texts):
                self.c.llama_memory_clear(self.c.llama_get_memory(self._ctx), True)
                sums += [self._long(group[0])] if len(group[0]) > BATCH else self._short(group)
        return [(total / np.linalg.norm(total)).tolist() for total in sums]

    def _short(self, group: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Sums of the last layer's states of texts that fit into a batch together."""
        states = self._states([(token, at, i) for i, tokens in enumerate(group) for at, token in enumerate(tokens)])
        ends = np.cumsum([len(tokens) for tokens in group])[:-1]
        return [part.sum(axis=0, dtype=np.float64) for part in np.split(states, ends)]

    def _long(self, tokens: Sequence[int]) -> np.ndarray:
        """The sum of a text's states, read in several batches."""
        places = [(token, at, 0) for at, token in enumerate(tokens)]
        return sum(self._states(places[start:start + BATCH]).sum(axis=0, dtype=np.float64)
                   for start in range(0, len(places), BATCH))

    def _states(self, places: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """The last layer's states at (token, position, sequence): (places, width)."""
        batch = self._batch
        batch.n_tokens = len(places)
        for i, (token, at, sequence) in enumerate(places):
            batch.token[i], batch.pos[i], batch.logits[i] = token, at, True
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        if code := self.c.llama_decode(self._ctx, batch):
            raise LabkitError(f"llama.cpp could not embed the text (code {code}).")
        states = self.c.llama_get_embeddings(self._ctx)
        return np.ctypeslib.as_array(states, shape=(len(places), self.width))


def _together(texts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """The texts in their order, as many at a time as a batch holds; a longer one alone."""
    group: list[Sequence[int]] = []
    for tokens in texts:
        if group and (len(group) == SEQUENCES or sum(map(len, group)) + len(tokens) > BATCH):
            yield group
            group = []
        group.append(tokens)
    if group:
        yield group


def embed(engine: Engine, texts: Sequence[str]) -> list[list[float]]:
    """One vector per text. An empty text is embedded as a line break: it has no token of its own."""
    return _embedder(engine).vectors([engine.tokenize(text) or engine.tokenize("\n") for text in texts])


def works(engine: Engine) -> bool:
    """Whether the loaded model has states to give. Asking for a vector would cost 0.3 s at every start."""
    return engine.c.llama_model_n_embd(engine.weights.model) > 0


def _embedder(engine: Engine) -> Embedder:
    with _making:
        if engine not in _embedders:
            _embedders[engine] = Embedder(engine)
        return _embedders[engine]


def _free(c, batch, ctx, weights) -> None:
    c.llama_batch_free(batch)
    c.llama_free(ctx)
