"""A desk's agent: the model chooses the tools and their arguments; what the tools say is the answer."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit.agents.agent import Agent
from labkit.agents.deciding import decided
from labkit.agents.run import Run, Step
from labkit.domains.desk import Desk
from labkit.errors import ToolError
from labkit.tools.tool import Tool


class DeskAgent(Agent):
    """An agent whose run always ends in an answer: a call that failed is told, not raised.

    own_words: let the model word its answers. A 135M model gets some of them wrong; without it the tools' own
    sentences are the answer, and a request costs one turn of the model instead of two.
    """

    def __init__(self, slm: Any, desk: Desk, *, own_words: bool = False, parallel_tool_calls: bool = True,
                 retries: int = 0, max_tokens: int = 240, **options: Any):
        turns = {} if own_words else {"max_steps": 1}
        super().__init__(slm if own_words else Decider(slm, desk), parallel_tool_calls=parallel_tool_calls,
                         tools=desk.tools, retries=retries, max_tokens=max_tokens, **turns, **options)

    def run(self, task: str | Sequence[Mapping[str, Any]]) -> Run:
        """As Agent.run; finish_reason "tool_error" where a call failed, with what it said as the text."""
        try:
            run = super().run(task)
        except ToolError as error:
            return error.run.end(told(error.run), "tool_error")
        return run.end(told(run), "stop") if run.finish_reason == "max_steps" else run


class Decider:
    """A model that decides for calls or for none: its words are broken off, and the desk's own stand in their place.

    What a request names says what it can be about. With an order's number in it, tools that take only a customer's
    are not offered; an argument for which the request names something can only be that; and where it names all that a
    tool needs and the model still sees no call, it is asked again for one. A number that no request named is asked
    for, and the same call twice in one turn is one.
    """

    def __init__(self, slm: Any, desk: Desk):
        self._slm, self._desk = slm, desk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slm, name)

    def chat(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Tool], **options: Any):
        """As the model's chat, with tools."""
        said = "\n".join(message["content"] for message in messages if message["role"] == "user")
        numbers = self._desk.numbers_in(said)
        named = {**self._desk.names_in(said), **numbers}
        limited = [_only(tool, named) for tool in tools]
        about = [tool for tool in limited if numbers.keys() & _takes(tool)]
        fit = [tool for tool in limited if tool in about or not self._desk.ids.keys() & _takes(tool)]
        reply = decided(self._slm, messages, tools=fit if about else limited, **options)
        complete = [tool for tool in limited if _needs(tool) <= named.keys()
                    and (tool in about or len(_needs(tool)) > 1)]  # one name alone may well be small talk
        if complete and not reply.tool_calls:
            reply = decided(self._slm, messages, tools=complete, tool_choice="required", **options)
        if not reply.tool_calls and reply.finish_reason == "cancelled":  # in words; a question is finished
            return replace(reply, text=declined(tools), finish_reason="stop")
        return self._without_invented(reply, numbers)

    def _without_invented(self, reply: Any, numbers: Mapping[str, Sequence[str]]):
        invented = [name for call in reply.tool_calls for name in call.arguments
                    if name in self._desk.ids and name not in numbers]
        if invented:
            question = f"What is the {invented[0].replace('_', ' ')}?"
            return replace(reply, text=question, tool_calls=[], finish_reason="stop")
        once = [call for i, call in enumerate(reply.tool_calls) if call not in reply.tool_calls[:i]]
        return replace(reply, tool_calls=once)


def _takes(tool: Tool) -> set[str]:
    return set(tool.parameters["properties"])


def _needs(tool: Tool) -> set[str]:
    return set(tool.parameters.get("required", ()))


def _only(tool: Tool, named: Mapping[str, Sequence[str]]) -> Tool:
    """The tool with what its arguments may be, as a pattern: the model reads the same words as before."""
    properties = {name: _one_of(schema, named[name]) if named.get(name) else schema
                  for name, schema in tool.parameters["properties"].items()}
    return replace(tool, parameters={**tool.parameters, "properties": properties})


def _one_of(schema: Mapping[str, Any], values: Sequence[str]) -> dict[str, Any]:
    if schema["type"] == "array":
        return {**schema, "items": _one_of(schema["items"], values)}
    return {**schema, "pattern": f"^({'|'.join(map(re.escape, values))})$"}


def declined(tools: Sequence[Tool]) -> str:
    """What a desk says to a request that none of its tools is for."""
    return f"That is nothing I can do here. What I have: {', '.join(tool.name.replace('_', ' ') for tool in tools)}."


def told(run: Run) -> str:
    """What the run's tools have said, a line each."""
    return "\n".join(_said(step) for step in run.steps if step.kind == "tool")


def _said(step: Step) -> str:
    if step.error:
        return step.error.removeprefix(f"{step.calls[0].name}: ToolError: ")
    return step.result["answer"] if isinstance(step.result, Mapping) and "answer" in step.result else str(step.result)
