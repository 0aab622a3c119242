"""Which tool a request is for, by how likely the request is once the tool is given.

Asked "which tool?", a 135M model picks by position and by the sound of a name. Asked the other way
round, for the probability of the user's words given each tool's description, it is a much better
judge: the noisy-channel rule of Min et al., "Noisy Channel Language Model Prompting for Few-Shot
Text Classification" (2022). The same words given no tool at all are the threshold.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labkit.tools.tool import Tool

_WRITER = "You write example requests from users."
_FOR_TOOL = "Write a request that a user would make to be helped by this tool.\n{}"
_FOR_NO_TOOL = (
    "Write a request that a user would make.",
    "Write something that a user would say in small talk.",
    "Write a question about general knowledge.",
)
Score = Callable[[Sequence[tuple[list[dict], str]]], list[float]]


@dataclass(frozen=True)
class Choice:
    """The tool that fits, or None for words; and the probability given to that decision."""

    tool: Tool | None
    confidence: float


def choose(request: str, tools: Sequence[Tool], score: Score, *, allow_none: bool) -> Choice:
    """The likeliest of `tools`, or none of them when the request is likelier without any.

    score: log-likelihood (nats) of each text as the answer to its messages.
    """
    prompts = [prompt_for(tool) for tool in tools] + [_messages(p) for p in _FOR_NO_TOOL if allow_none]
    scores = score([(prompt, request) for prompt in prompts])
    fits = scores[:len(tools)]
    best = max(range(len(tools)), key=fits.__getitem__)
    if not allow_none:
        return Choice(tools[best], _share(fits, fits[best]))
    none = max(scores[len(tools):])
    everything = [*fits, none]
    if fits[best] < none:
        return Choice(None, _share(everything, none))
    return Choice(tools[best], _share(everything, fits[best]))


def _share(scores: Sequence[float], chosen: float) -> float:
    """The softmax share of one log-likelihood among all: its posterior under equal priors."""
    return 1.0 / sum(math.exp(min(s - chosen, 700.0)) for s in scores)


def _messages(prompt: str) -> list[dict]:
    return [{"role": "system", "content": _WRITER}, {"role": "user", "content": prompt}]


def prompt_for(tool: Tool) -> list[dict]:
    """The messages to which a request for this tool would be the answer."""
    return _messages(_FOR_TOOL.format(signature(tool)))


def signature(tool: Tool) -> str:
    """A tool in one line: its name, its parameters' names, and what it does."""
    names: Mapping = tool.parameters.get("properties", {})
    return f"{tool.name}({', '.join(names)}): {tool.description}"
