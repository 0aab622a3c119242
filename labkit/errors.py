"""The few errors labkit raises. Each message says what to do next."""
from __future__ import annotations


class LabkitError(Exception):
    """Base of every error labkit raises on purpose."""


class BackendUnavailable(LabkitError):
    """The runtime is unknown, not installed, not running, or was closed."""


class ModelFileError(LabkitError):
    """A model file is missing, truncated, or not what its name says."""


class BadRequest(LabkitError, ValueError):
    """The caller's input cannot be used: messages, options, tools or schema."""


class ContextFull(BadRequest):
    """The prompt is longer than the model's context (both lengths in tokens)."""

    def __init__(self, prompt_tokens: int, context_tokens: int):
        self.prompt_tokens, self.context_tokens = prompt_tokens, context_tokens
        super().__init__(
            f"The prompt has {prompt_tokens} tokens, the context holds {context_tokens}. "
            "Shorten the prompt, drop old messages, or connect(context_length=…) with more."
        )


class IncompleteOutput(LabkitError):
    """The answer is no valid value: cut short, or refused by the schema's own validators."""


class ToolError(LabkitError):
    """A tool raised, ran out of time, or got arguments it refuses."""
