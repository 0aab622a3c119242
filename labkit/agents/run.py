"""What an agent did: every step, with its cost."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from labkit.backends.reply import Usage
from labkit.tools.call import ToolCall


@dataclass(frozen=True)
class Step:
    """One call of the model (kind "model") or of a tool (kind "tool")."""

    kind: str
    seconds: float
    usage: Usage = Usage()
    text: str = ""                       # model: the words it answered
    calls: tuple[ToolCall, ...] = ()     # model: what it asked for; tool: the one that ran
    result: Any = None                   # tool: what it returned
    error: str | None = None             # tool: why it failed

    def __str__(self) -> str:
        what = " ".join(map(str, self.calls)) or self.text
        if self.kind == "tool":
            return f"tool   {self.seconds:6.3f} s  {what} → {self.error or self.result!r}"
        tokens = f"{self.usage.prompt_tokens}+{self.usage.completion_tokens} tokens"
        return f"model  {self.seconds:6.3f} s  {tokens}  {what}"


@dataclass
class Run:
    """An agent's work on one task. finish_reason: "stop", "length", "max_steps" or "tool_error"."""

    messages: list[dict[str, Any]] = field(repr=False)
    steps: list[Step] = field(default_factory=list)
    text: str = ""
    finish_reason: str = ""

    def end(self, text: str, reason: str) -> Run:
        self.text, self.finish_reason = text, reason
        return self

    @property
    def usage(self) -> Usage:
        """Tokens of all steps together."""
        return sum((step.usage for step in self.steps), Usage())

    @property
    def seconds(self) -> float:
        """Time in the model and in tools (s)."""
        return sum(step.seconds for step in self.steps)

    @property
    def calls(self) -> list[ToolCall]:
        """The tool calls that were made, in order."""
        return [call for step in self.steps if step.kind == "tool" for call in step.calls]

    def to_dict(self) -> dict[str, Any]:
        """All but the messages, fit for JSON where the tools' results are."""
        steps = [{"kind": step.kind, "seconds": step.seconds, "usage": asdict(step.usage), "text": step.text,
                  "calls": [asdict(call) for call in step.calls], "result": step.result, "error": step.error}
                 for step in self.steps]
        return {"text": self.text, "finish_reason": self.finish_reason, "seconds": self.seconds, "steps": steps}

    def __str__(self) -> str:
        lines = [f"{i}. {step}" for i, step in enumerate(self.steps, 1)]
        return "\n".join([*lines, f"→ {self.text or self.finish_reason}"])

    def _repr_markdown_(self) -> str:
        steps = "\n".join(f"{i}. `{step}`" for i, step in enumerate(self.steps, 1))
        answer = self.text or f"(no answer: {self.finish_reason})"
        return (f"{answer}\n\n<details><summary>{len(self.steps)} steps, "
                f"{self.usage.total_tokens} tokens, {self.seconds:.2f} s</summary>\n\n{steps}\n\n</details>")
