"""The agent loop: ask the model, run the tools it calls, show it the results, until it answers in words."""
from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.agents.run import Run, Step
from labkit.errors import BadRequest, ToolError
from labkit.tools.call import ToolCall
from labkit.tools.messages import ERROR, normalise, shortened
from labkit.tools.tool import as_tools


class Agent:
    """A model with instructions and tools.

    max_steps: model calls at most in one run; a run that needs more stops and says so.
    retries: how many failed calls in a row go back to the model before the caller gets the error.
    options: passed to every model call (max_tokens, temperature, tool_choice is "auto" and fixed).
    """

    def __init__(self, slm, *, tools: Sequence[Any] = (), instructions: str = "", max_steps: int = 6,
                 retries: int = 1, parallel_tool_calls: bool = False, **options):
        if max_steps < 1:
            raise BadRequest(f"max_steps={max_steps}: an agent needs at least 1.")
        self.slm, self.tools, self.instructions = slm, as_tools(tools), instructions
        self.max_steps, self.retries = max_steps, retries
        self.options = {**options, "parallel_tool_calls": parallel_tool_calls}

    def run(self, task: str | Sequence[Mapping[str, Any]]) -> Run:
        """Work on a task (a text, or a conversation so far) until an answer in words.

        Raises ToolError when calls keep failing; its `.run` holds the steps up to there.
        """
        run, failures = Run(self._opening(task)), 0
        for _ in range(self.max_steps):
            reply = self._ask(run)
            if not reply.tool_calls:
                return run.end(reply.text, reply.finish_reason)
            errors = [error for call in reply.tool_calls if (error := self._act(run, call))]
            failures = failures + 1 if errors else 0
            if failures > self.retries:
                run.end("", "tool_error")
                errors[0].run = run
                raise errors[0]
        return run.end("", "max_steps")

    def _opening(self, task) -> list[dict[str, Any]]:
        messages = normalise(task)
        if self.instructions:
            messages = [{"role": "system", "content": self.instructions}, *messages]
        return messages

    def _ask(self, run: Run):
        reply = self.slm.chat(run.messages, tools=self.tools, **self.options)
        run.messages.append(normalise([reply.message])[0])
        run.steps.append(Step("model", reply.timing.total_s, usage=reply.usage, text=reply.text,
                              calls=tuple(reply.tool_calls)))
        return reply

    def _act(self, run: Run, call: ToolCall) -> ToolError | None:
        """Run one call; its result, or its error in words, becomes a message. Returns the error."""
        started, error, result = time.perf_counter(), None, None
        try:
            result = next(t for t in self.tools if t.name == call.name).run(call.arguments)
            content = _shown(result)
        except ToolError as raised:
            error, content = raised, f"{ERROR}{raised}"
        seconds = time.perf_counter() - started
        run.messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        run.steps.append(Step("tool", seconds, calls=(call,), result=result,
                              error=str(error) if error else None))
        return error


def _shown(result: Any) -> str:
    """A result as text for the model, cut when it is long."""
    try:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that are no text, or a list that holds itself
        text = str(result)
    return shortened(text)
