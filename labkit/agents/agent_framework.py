"""labkit's models in Microsoft Agent Framework: a chat client for its agents, tools, middleware and workflows.

    from agent_framework import Agent
    from labkit.agents.agent_framework import LabkitChatClient

    agent = Agent(LabkitChatClient(lk.connect()), "You help customers.", tools=[order_status])
    print((await agent.run("Where is A-1042?")).text)

Knows messages and options, no agents: the framework runs the tools, and asks again with their results.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    FunctionTool,
    Message,
)
from agent_framework._types import prepend_instructions_to_messages, validate_tool_mode
from agent_framework.exceptions import (
    ChatClientException,
    ChatClientInvalidRequestException,
    ChatClientInvalidResponseException,
)
from agent_framework.observability import ChatTelemetryLayer

from labkit.backends.chat import Chat
from labkit.backends.reply import Reply, Usage
from labkit.errors import BadRequest, IncompleteOutput, LabkitError
from labkit.tools.messages import shortened

PASSED_ON = ("temperature", "top_p", "max_tokens", "stop", "seed", "grounded")
NOT_OURS = ("model", "store", "metadata", "user", "conversation_id")  # of services; a local model has no use for them
UNSUPPORTED = ("logit_bias", "frequency_penalty", "presence_penalty")


class LabkitChatClient(FunctionInvocationLayer, ChatMiddlewareLayer, ChatTelemetryLayer, BaseChatClient):
    """A connected labkit model as the framework's chat client.

    slm: what lk.connect() gives, or a labkit Router; None for the embedded model. Tool calls are valid against the
    tools' schemas, and `response_format` (a pydantic model or a JSON schema) is enforced, in every runtime that labkit
    connects to.

    Raises the framework's exceptions: ChatClientInvalidRequestException for what the caller can mend,
    ChatClientInvalidResponseException for an answer that was cut, ChatClientException for a runtime that fails.
    """

    OTEL_PROVIDER_NAME = "labkit"

    def __init__(self, slm: Chat | None = None, **layers: Any):
        super().__init__(**layers)
        if slm is None:
            from labkit.backends.registry import connect
            slm = connect()
        self.slm, self.model = slm, slm.model

    def service_url(self) -> str:
        """Where the answers come from, for traces."""
        backend = getattr(self.slm, "backend", self.slm)
        return getattr(backend, "base_url", None) or f"in process: {getattr(backend, 'name', type(backend).__name__)}"

    def _inner_get_response(self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **_: Any):
        if stream:
            return self._build_response_stream(self._updates(messages, options),
                                               response_format=options.get("response_format"))
        return self._response(messages, options)

    async def _response(self, messages: Sequence[Message], options: Mapping[str, Any]) -> ChatResponse:
        with _framework_errors():
            reply = await self.slm.achat(**await self._arguments(messages, options))
        return ChatResponse(
            messages=Message("assistant", _contents(reply)), model=reply.model, finish_reason=reply.finish_reason,
            usage_details=_usage(reply.usage), response_format=options.get("response_format"),
            additional_properties={"confidence": reply.confidence}, raw_representation=reply)

    async def _updates(self, messages: Sequence[Message],
                       options: Mapping[str, Any]) -> AsyncIterator[ChatResponseUpdate]:
        with _framework_errors():
            stream = await asyncio.to_thread(self.slm.stream, **await self._arguments(messages, options))
            pieces = iter(stream)
            try:
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield ChatResponseUpdate(contents=[Content.from_text(piece, merge_mode="append")],
                                             role="assistant", model=self.model)
                reply = await asyncio.to_thread(lambda: stream.reply)
            finally:
                stream.stop()  # for a reader that left early
        rest = [content for content in _contents(reply) if content.type != "text"]
        yield ChatResponseUpdate(contents=[*rest, Content.from_usage(_usage(reply.usage))], role="assistant",
                                 model=reply.model, finish_reason=reply.finish_reason, raw_representation=reply)

    async def _arguments(self, messages: Sequence[Message], options: Mapping[str, Any]) -> dict[str, Any]:
        """What Chat.chat() takes. Raises BadRequest for an option that labkit has no equivalent of."""
        given = {key: value for key, value in (await self._validate_options(options)).items() if value is not None}
        if refused := [key for key in UNSUPPORTED if given.get(key)]:
            raise BadRequest(f"labkit's models have no option {refused[0]!r}.")
        messages = prepend_instructions_to_messages(list(messages), given.get("instructions"))
        arguments = {"conversation": openai_messages(messages),
                     **{key: given[key] for key in PASSED_ON if key in given}}
        if tools := given.get("tools"):
            arguments |= _tools(tools, given)
        elif "response_format" in given:
            arguments["schema"] = _schema(given["response_format"])
        return arguments


def openai_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The framework's messages as OpenAI's. Raises BadRequest for content that is neither text nor a tool's."""
    return [made for message in messages for made in _message(message)]


def _message(message: Message) -> list[dict[str, Any]]:
    """One, or one for each result of a tool; none where only the framework's own notes are in it."""
    text, calls, results = [], [], []
    for content in message.contents:
        if content.type == "text":
            text.append(content.text or "")
        elif content.type == "function_call":
            calls.append(_call(content))
        elif content.type == "function_result":
            results.append({"role": "tool", "tool_call_id": content.call_id, "content": _result(content)})
        elif content.type in ("data", "uri", "hosted_file"):
            raise BadRequest(f"A message holds {content.type}: labkit's models read text only.")
    if not text and not calls:
        return results
    made: dict[str, Any] = {"role": str(message.role), "content": "\n".join(text)}
    return [made | ({"tool_calls": calls} if calls else {}), *results]


def _call(content: Content) -> dict[str, Any]:
    arguments = content.arguments if isinstance(content.arguments, str) else json.dumps(content.arguments or {})
    return {"id": content.call_id, "type": "function", "function": {"name": content.name, "arguments": arguments}}


def _result(content: Content) -> str:
    """An error is in it already, in the framework's words, which begin as labkit's do: "Error: "."""
    return shortened(content.result if isinstance(content.result, str) else json.dumps(content.result, default=str))


def _contents(reply: Reply) -> list[Content]:
    calls = [Content.from_function_call(call.id, call.name, arguments=call.arguments) for call in reply.tool_calls]
    return [*([Content.from_text(reply.text)] if reply.text else []), *calls]


def _usage(usage: Usage) -> dict[str, int]:
    return {"input_token_count": usage.prompt_tokens, "output_token_count": usage.completion_tokens,
            "total_token_count": usage.total_tokens, "cache_read_input_token_count": usage.cached_tokens}


def _tools(tools: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    offered = [tool.to_json_schema_spec() if isinstance(tool, FunctionTool) else tool for tool in tools]
    if other := [tool for tool in offered if not (isinstance(tool, Mapping) and "function" in tool)]:
        raise BadRequest(f"{other[0]!r} is a tool of a service: a local model has functions only.")
    mode = validate_tool_mode(options.get("tool_choice")) or {"mode": "auto"}
    if allowed := mode.get("allowed_tools"):
        offered = [tool for tool in offered if tool["function"]["name"] in allowed]
    return {"tools": offered, "tool_choice": mode.get("required_function_name", mode["mode"]),
            "parallel_tool_calls": bool(options.get("allow_multiple_tool_calls"))}


def _schema(wanted: Any) -> Any:
    """A pydantic model or a bare JSON schema; also out of OpenAI's envelope {"type": "json_schema", …}."""
    if not isinstance(wanted, Mapping):
        return wanted
    inside = wanted.get("json_schema")
    return inside["schema"] if isinstance(inside, Mapping) and "schema" in inside else wanted


@contextmanager
def _framework_errors():
    try:
        yield
    except BadRequest as error:
        raise ChatClientInvalidRequestException(str(error)) from error
    except IncompleteOutput as error:
        raise ChatClientInvalidResponseException(str(error)) from error
    except LabkitError as error:
        raise ChatClientException(str(error)) from error
