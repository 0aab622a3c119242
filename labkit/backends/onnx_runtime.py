"""A model folder in ONNX Runtime GenAI: weights, tokens and logits. Knows no messages and no options."""
from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from labkit.backends.hf_prompt import HFPrompt
from labkit.errors import ModelFileError


class GenAIPrompt(HFPrompt):
    """The prompt side of a folder made for ONNX Runtime GenAI."""

    config_file = "genai_config.json"

    @cached_property
    def context_tokens(self) -> int:
        return int(self._json(self.config_file)["model"]["context_length"])


class Runtime:
    """The weights of one folder. Safe from any thread: each generation has a generator of its own."""

    def __init__(self, folder: Path, threads: int):
        import onnxruntime_genai as genai
        self.prompt, self.threads = GenAIPrompt(folder), threads
        self.name = folder.name.split("-from-")[0].replace(".onnx-", " ONNX ")
        config = genai.Config(str(folder))
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        try:
            self.model = genai.Model(config)
        except RuntimeError as error:
            raise ModelFileError(f"{folder.name} could not be loaded: {error}") from error
        self.tokenizer = genai.Tokenizer(self.model)

    def generator(self, max_length: int, guidance: tuple[str, str] | None = None, **search: Any):
        """An empty generator for up to max_length tokens. guidance: (kind, text); search: GenAI's options.

        Raises RuntimeError when the guidance cannot be compiled.
        """
        import onnxruntime_genai as genai
        params = genai.GeneratorParams(self.model)
        params.set_search_options(max_length=max_length, **search)
        if guidance:
            # Not its option to add forced tokens at once: with it a call that max_tokens cut short ended the
            # whole process in GenAI 0.18.
            params.set_guidance(*guidance)
        return genai.Generator(self.model, params)

    def score(self, prompt: Sequence[int], text: Sequence[int], batch: int) -> float:
        """Sum of log P(token | all before it) in nats over `text` after `prompt`, `batch` tokens at a time."""
        if not text:
            return 0.0
        generator = self.generator(len(prompt) + len(text) + 1, do_sample=False)
        for start in range(0, len(prompt), batch):
            generator.append_tokens(np.array(prompt[start:start + batch], dtype=np.int32))
        total = _log_softmax_at(generator.get_logits()[0], text[:1])
        for start in range(0, len(text) - 1, batch):
            part, targets = text[start:start + batch], text[start + 1:start + batch + 1]
            generator.append_tokens(np.array(part[:len(targets)], dtype=np.int32))
            total += _log_softmax_at(generator.get_output("logits")[0], targets)
        return total

    @cached_property
    def gives_all_logits(self) -> bool:
        """Whether the model returns logits for every position: some are built with those of the last alone."""
        generator = self.generator(4, do_sample=False)
        generator.append_tokens(np.array([0, 0], dtype=np.int32))
        return generator.get_output("logits").shape[1] == 2


def _log_softmax_at(logits: np.ndarray, tokens: Sequence[int]) -> float:
    top = logits.max(axis=1)
    norm = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((logits[np.arange(len(tokens)), tokens] - norm).sum())


_runtimes: weakref.WeakValueDictionary[tuple, Runtime] = weakref.WeakValueDictionary()
_registry = threading.Lock()


def shared_runtime(folder: Path, threads: int) -> Runtime:
    """The one runtime of this process for these settings; it lives as long as somebody holds it."""
    key = (str(Path(folder).resolve()), threads)
    with _registry:
        if not (runtime := _runtimes.get(key)):
            runtime = _runtimes[key] = Runtime(Path(folder), threads)
        return runtime
