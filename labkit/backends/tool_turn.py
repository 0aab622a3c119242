"""One turn with tools: decide for a call or for words, then write it under a constraint."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit.backends import repair
from labkit.backends.base import Backend, Chunk
from labkit.backends.options import Options
from labkit.backends.reply import Reply
from labkit.errors import IncompleteOutput, ToolError
from labkit.tools import calling, choosing
from labkit.tools.call import ToolCall
from labkit.tools.choosing import Choice
from labkit.tools.messages import ERROR
from labkit.tools.tool import Tool

_WORDS = "none"


class ToolTurn:
    """mode: "auto" or "required"; several: more than one call; ground: arguments from what was said."""

    def __init__(self, backend: Backend, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool],
                 mode: str, several: bool, ground: bool, options: Options):
        self.backend, self.messages, self.tools = backend, list(messages), list(tools)
        self.mode, self.several, self.ground, self.options = mode, several, ground, options
        self.choice: Choice | None = None

    def in_words(self) -> bool:
        """Whether this turn turned out to be an answer in words."""
        return self.choice is not None and self.choice.tool is None

    def chunks(self) -> Iterator[Chunk]:
        self.choice = self._choose()
        if self.in_words():
            return (yield from self.backend.generate(self.options.request(self.messages)))
        tools = self.tools if self.several else [self.choice.tool]
        messages = calling.with_instructions(self.messages, calling.call_prompt(tools))
        source = said(self.messages) if self.ground else None
        constraint = calling.call_constraint(tools, several=self.several, source=source)
        # A stop string is for words: within a call it would break the JSON.
        options = replace(self.options, stop=None)
        yield from repair.generate(self.backend, options.request(messages, constraint))

    def finish(self, reply: Reply) -> Reply:
        """The reply with its calls read, or its words as they are."""
        reply = replace(reply, confidence=self.choice and self.choice.confidence)
        if self.in_words():
            return reply
        if reply.finish_reason == "cancelled":
            return replace(reply, text="")  # half a call is nothing to show
        calls = calling.read_calls(reply.text, reply.finish_reason, self.options.max_tokens)
        for call in calls:
            check_call(call, self.tools)
        return replace(reply, text="", tool_calls=calls, finish_reason="tool_calls")

    def _choose(self) -> Choice:
        auto = self.mode == "auto"
        if auto and answered(self.messages):
            return Choice(None, 1.0)
        if len(self.tools) == 1 and not auto:
            return Choice(self.tools[0], 1.0)
        if self.backend.capabilities.scores:
            return choosing.choose(_request(self.messages), self.tools, self.backend.loglikelihood,
                                   allow_none=auto)
        return self._choose_by_writing(auto)

    def _choose_by_writing(self, auto: bool) -> Choice:
        """For runtimes that cannot score: let the model write a name, one of those there are.

        A small model judges much worse this way; the league table of runtimes shows by how much.
        """
        names = [tool.name for tool in self.tools] + ([_WORDS] if auto else [])
        listed = [f"- {choosing.signature(tool)}" for tool in self.tools]
        listed += [f"- {_WORDS}(): no tool fits"] if auto else []
        prompt = "\n".join([f"Request: {_request(self.messages)}", "", "Tools:", *listed, "",
                            "Write the name of the tool that fits the request."])
        request = self.options.request([{"role": "user", "content": prompt}], calling.json_constraint({"enum": names}))
        chunks = list(repair.generate(self.backend, request))
        text = "".join(chunk.text for chunk in chunks)
        name = calling.read_json(text, chunks[-1].finish_reason, request.max_tokens)
        if name not in names:
            raise IncompleteOutput(f"No valid result: of {', '.join(names)}, the model wrote {name!r}.")
        return Choice(next((tool for tool in self.tools if tool.name == name), None), 1.0)


def check_call(call: ToolCall, tools: Sequence[Tool]) -> None:
    """Raise IncompleteOutput for a call that no tool of these takes: a runtime may write anything."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        raise IncompleteOutput(f"No valid result: the model called {call.name!r}, which was not offered.")
    try:
        tool.check(call.arguments)
    except ToolError as error:
        raise IncompleteOutput(f"No valid result: {error}") from error


def answered(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the tool the request needed has just answered, without an error."""
    last = messages[-1]
    return last["role"] == "tool" and not last["content"].startswith(ERROR)


def _request(messages: Sequence[Mapping[str, Any]]) -> str:
    """The user's last words."""
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), messages[-1]["content"])


def said(messages: Sequence[Mapping[str, Any]]) -> str:
    """Everything that arguments can be copied from: what the user and the tools said."""
    return "\n".join(m["content"] for m in messages if m["role"] in ("user", "tool"))
