"""vLLM's settings for five situations, with the flags of today, and commands made from them.

A template is a beginning: what fits depends on the model, the cards and the load, so measure and change.
`validate` asks the parser of the vLLM that is installed here whether it would take a command.
"""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import BackendUnavailable, BadRequest
from labkit.models.environments import environment
from labkit.table import Table

QUANTISATIONS = ("awq", "gptq", "fp8")


@dataclass(frozen=True)
class Template:
    """Settings of `vllm serve` for one situation. Lengths in tokens; memory: share of each card's."""

    name: str
    meant_for: str
    context: int                 # longest prompt with its answer
    sequences: int               # answers written at once
    step_tokens: int             # tokens computed in one step, prompts and answers together
    memory: float
    tensor_parallel: int = 1     # cards that share each layer
    pipeline_parallel: int = 1   # groups of cards that share the layers out
    quantisation: str | None = None
    prefix_caching: bool = True
    speculative: bool = False    # guess tokens ahead from the prompt's own words


TEMPLATES = {template.name: template for template in (
    Template("development", "one learner, short texts", 2048, 32, 2048, 0.60, prefix_caching=False),
    Template("staging", "a trial of what production will be", 4096, 64, 4096, 0.80, quantisation="awq"),
    Template("production-low", "one card, a steady load", 4096, 128, 8192, 0.85, quantisation="awq"),
    Template("production-high", "two cards, many users", 8192, 256, 16384, 0.90, tensor_parallel=2,
             quantisation="awq", speculative=True),
    Template("enterprise", "eight cards, long texts", 16384, 512, 32768, 0.95, tensor_parallel=4,
             pipeline_parallel=2, quantisation="awq", speculative=True),
)}

SPECULATIVE = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}

# What older instructions say: (flag or name, what became of it, what to write today).
RENAMED = (
    ("python -m vllm.entrypoints.openai.api_server --model M", "still there, no longer the way", "vllm serve M"),
    ("--disable-log-requests", "gone: requests are not logged unless asked", "--enable-log-requests to log them"),
    ("--speculative-model M", "gone", '--speculative-config \'{"model": "M", "num_speculative_tokens": 4}\''),
    ("--guided-decoding-backend B", "gone", '--structured-outputs-config \'{"backend": "guidance"}\''),
    ("guided_json in a request", "ignored without a word", "response_format, or structured_outputs"),
    ("--enable-chunked-prefill", "on by default", ""),
    ("--enable-prefix-caching", "on by default", "--no-enable-prefix-caching to turn it off"),
    ("vllm:gpu_cache_usage_perc", "renamed", "vllm:kv_cache_usage_perc"),
)


def arguments(model: str, template: str | Template, *, port: int = 8000, host: str = "127.0.0.1",
              gpus: int | None = None, quantisation: str | None = "", speculative: Mapping[str, Any] | None = None,
              name: str | None = None) -> list[str]:
    """The arguments of `vllm serve` for a model in one of TEMPLATES.

    gpus: cards to share each layer over, instead of the template's own split. quantisation: "awq", "gptq",
        "fp8", or None for none; the weights must have been made that way (but for fp8, made at load).
    speculative: the JSON of --speculative-config, e.g. {"model": "…", "num_speculative_tokens": 4}.
    Raises BadRequest for an unknown template or quantisation.
    """
    chosen = template if isinstance(template, Template) else _find(template)
    quantised = chosen.quantisation if quantisation == "" else quantisation
    if quantised not in (None, *QUANTISATIONS):
        raise BadRequest(f"quantisation={quantised!r}: use one of {', '.join(QUANTISATIONS)}, or None.")
    guess = speculative or (SPECULATIVE if chosen.speculative else None)
    given = {
        "--host": host, "--port": port, "--served-model-name": name, "--max-model-len": chosen.context,
        "--max-num-seqs": chosen.sequences, "--max-num-batched-tokens": chosen.step_tokens,
        "--gpu-memory-utilization": chosen.memory, "--tensor-parallel-size": gpus or chosen.tensor_parallel,
        "--pipeline-parallel-size": 1 if gpus else chosen.pipeline_parallel, "--quantization": quantised,
        "--structured-outputs-config": json.dumps({"backend": "guidance"}),
        "--speculative-config": json.dumps(dict(guess)) if guess else None,
    }
    found = [str(part) for flag, value in given.items() if value is not None for part in (flag, value)]
    return [model, *found, *([] if chosen.prefix_caching else ["--no-enable-prefix-caching"])]


def command(model: str, template: str | Template, **options) -> str:
    """The same as a line for a shell."""
    import shlex
    return "vllm serve " + shlex.join(arguments(model, template, **options))


def validate(given: Sequence[str]) -> str | None:
    """None when the installed `vllm serve` takes these arguments, else what its parser says.

    Raises BackendUnavailable when vLLM is not installed.
    """
    return validate_all([given])[0]


def validate_all(given: Sequence[Sequence[str]], timeout_s: float = 300.0) -> list[str | None]:
    """`validate` for several command lines at the price of one: vLLM takes ten seconds to import."""
    python = environment("vllm").require()
    script = Path(__file__).with_name("vllm_check.py")
    quiet = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run([str(python), "-I", "-X", "utf8", str(script)], env=quiet, timeout=timeout_s,
                              input=json.dumps(list(map(list, given))), capture_output=True, encoding="utf-8")
        return json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"vLLM's parser said nothing for {timeout_s:g} s. Try again when the machine "
                                 "is less busy.") from error
    except (ValueError, IndexError) as error:
        raise BackendUnavailable(f"vLLM cannot be imported: {done.stderr.strip()[-300:]}\n"
                                 "Run: labkit backend install vllm") from error


def table() -> Table:
    """The templates side by side."""
    columns = ("template", "context", "answers at once", "tokens a step", "memory", "cards", "weights", "guesses")
    return Table(columns, tuple(
        (t.name, f"{t.context}", f"{t.sequences}", f"{t.step_tokens}", f"{t.memory:.0%}",
         f"{t.tensor_parallel * t.pipeline_parallel}", t.quantisation or "as they are",
         "yes" if t.speculative else "no") for t in TEMPLATES.values()))


def renamed() -> Table:
    """What older instructions say, and what to write today."""
    rows = tuple((old, f"{now}. Write: {new}" if new else f"{now}. Write nothing.") for old, now, new in RENAMED)
    return Table(("older instructions say", "today"), rows)


def _find(name: str) -> Template:
    if name not in TEMPLATES:
        raise BadRequest(f"There is no template {name!r}. Use one of: {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]
