"""vLLM: many answers at once, through its own server in an environment of its own."""
from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.backends import managed, probe
from labkit.backends.base import Capabilities, Request
from labkit.backends.hf_prompt import HFPrompt
from labkit.backends.openai_errors import plain_errors
from labkit.backends.prompted import Prompted
from labkit.models import workshop
from labkit.models.environments import environment
from labkit.models.hardware import cpu_flags
from labkit.tools.constraint import Constraint

_COLDEST = 0.01  # vLLM raises what is colder, but not 0, to this
_FIELDS = {"json_schema": "json", "lark": "grammar", "regex": "regex"}  # of "structured_outputs"


class Vllm(Prompted):
    """A Hugging Face folder in `vllm serve`. Connections with the same settings share one server, which ends
    with this process; one of your own, anywhere, with base_url.

    model: a folder; None for the embedded SmolLM2-135M-Instruct. With base_url: an id that it lists.
    context_length: tokens for prompt and answer; None for what the model was made for.
    threads: of the processor, where there is no GPU; None for the physical cores this process may use.
    """

    name = "vllm"
    how_to_start = "Start it with: labkit backend start vllm"
    stream_options = {"include_usage": True, "continuous_usage_stats": True}

    def __init__(self, model: str | Path | None = None, *, context_length: int | None = None,
                 threads: int | None = None, base_url: str | None = None, api_key: str | None = None,
                 timeout_s: float = 300.0, retries: int = 2):
        if base_url:
            super().__init__(model, base_url=base_url, api_key=api_key, timeout_s=timeout_s, retries=retries)
            return
        server = self.server(model, context_length=context_length, threads=threads)
        super().__init__(base_url=server.base_url, timeout_s=timeout_s, retries=0)
        self.model_id, self.prompt = self.model, HFPrompt(_folder(model))

    @classmethod
    def server(cls, model: str | Path | None = None, *, context_length: int | None = None,
               threads: int | None = None, port: int | None = None, owner: str = "me",
               on_line: managed.OnLine = managed.say) -> managed.Server:
        """The server of a model, started if it does not run."""
        prompt, here = HFPrompt(_folder(model)), environment("vllm")
        length = min(context_length or prompt.context_tokens, prompt.context_tokens)
        name = prompt.name.partition(" hf-")[0]  # the numbers it computes in are vLLM's choice, not the folder's
        command = [str(part) for part in (
            here.require(), "-I", "-X", "utf8", "-u", "-m", "vllm.entrypoints.cli.main", "serve", prompt.folder,
            "--host", "127.0.0.1", "--port", "{port}", "--served-model-name", name,
            "--max-model-len", length, "--structured-outputs-config", '{"backend": "guidance"}',
            "--enable-prompt-tokens-details", "--disable-uvicorn-access-log", *_for_this_machine())]
        return managed.run_server("vllm", command, model=name, port=port, owner=owner, on_line=on_line,
                                  health_url="http://127.0.0.1:{port}/health", env=_env(threads),
                                  ready_timeout_s=600.0)

    @classmethod
    def why_not(cls) -> str | None:
        return cls.missing() or environment("vllm").why_not() or workshop.form_of("hf").why_not()

    @cached_property
    def capabilities(self) -> Capabilities:
        kinds = probe.constraints(self, tuple(_FIELDS))
        mine = self.prompt is not None
        return Capabilities(kinds, scores=mine, continues=mine, prefix_cache=mine,
                            context_tokens=self.context_tokens())

    def loglikelihood(self, pairs: Sequence[tuple[list[dict[str, Any]], str]]) -> list[float]:
        if self.prompt is None:
            return super().loglikelihood(pairs)
        before = [self.prompt.tokens(messages) for messages, _ in pairs]
        texts = [self.prompt.tokenizer.tokenize_str(text) for _, text in pairs]
        with plain_errors(self):
            answer = self.client.completions.create(
                model=self.model_id, prompt=[a + b for a, b in zip(before, texts, strict=True)], max_tokens=1,
                temperature=0.0, extra_body={"prompt_logprobs": 0})
            choices = sorted(answer.choices, key=lambda choice: choice.index)
            return [_sum(choice.model_extra["prompt_logprobs"], text)
                    for choice, text in zip(choices, texts, strict=True)]

    def next_tokens(self, request: Request) -> list[tuple[str, float]]:
        """The 20 likeliest next tokens with their log-probabilities (nats), likeliest first."""
        if self.prompt is None:
            return []
        with plain_errors(self):
            answer = self.client.completions.create(model=self.model_id, prompt=self.prompt_tokens(request),
                                                    max_tokens=1, temperature=0.0, logprobs=20)
            found = answer.choices[0].logprobs.top_logprobs[0]
        return sorted(found.items(), key=lambda pair: -pair[1])

    def _sampling(self, request: Request) -> dict[str, Any]:
        return super()._sampling(replace(request, temperature=0.0) if request.temperature < _COLDEST else request)

    def _constrained(self, constraint: Constraint | None) -> dict[str, Any]:
        if constraint is None:
            return {}
        return {"extra_body": {"structured_outputs": {_FIELDS[constraint.kind]: constraint.text}}}


def _folder(model: str | Path | None) -> Path:
    return Path(model) if model else workshop.require("hf")


def _sum(positions: list[dict[str, dict[str, float]]], text: list[int]) -> float:
    """Of the log-probabilities at the last positions of a prompt: those of the tokens that stand there."""
    last = positions[len(positions) - len(text):]
    return sum(at[str(token)]["logprob"] for at, token in zip(last, text, strict=True))


def _gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def _for_this_machine() -> list[str]:
    """On a processor: no graph compiler, and no worker process of its own."""
    return [] if _gpu() else ["--enforce-eager", "--distributed-executor-backend", "uni", "--dtype", _dtype()]


def _dtype() -> str:
    """bfloat16 only where the processor computes in it: elsewhere it is emulated, several times as slow as float32.

    Not with Intel's matrix tiles (AMX): there vLLM 0.32's bfloat16 answered in another language, or off the point.
    """
    return "bfloat16" if "avx512_bf16" in (flags := cpu_flags()) and "amx_tile" not in flags else "float32"


def _env(threads: int | None) -> dict[str, str]:
    """Offline and reporting nothing. On a processor: all cores, and no core waits by spinning, which on a
    machine that has other work slows everything down."""
    from labkit.models.hardware import usable_cores
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if _gpu():
        return quiet
    given = {"VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB
    return {**quiet, **{name: os.environ.get(name, value) for name, value in given.items()},
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads or usable_cores()), "OMP_WAIT_POLICY": "PASSIVE"}
