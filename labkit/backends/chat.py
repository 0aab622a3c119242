"""Chat, streaming, schemas and tools over any backend: written once, here."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from labkit.backends import repair
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.native_turn import NativeTurn
from labkit.backends.options import Options
from labkit.backends.reply import Reply
from labkit.backends.stream import Stream
from labkit.backends.tool_turn import ToolTurn
from labkit.backends.trained_turn import TrainedTurn
from labkit.errors import BadRequest, IncompleteOutput
from labkit.tools import calling, trained
from labkit.tools.constraint import Constraint
from labkit.tools.messages import normalise
from labkit.tools.schema import bounded
from labkit.tools.tool import as_tools

Conversation = str | Sequence[Mapping[str, Any]]


class Chat:
    """A connected model. Made by `labkit.connect()`."""

    def __init__(self, backend: Backend):
        self.backend = backend
        self.on_chunk: list[Callable[[Chunk], None]] = []  # called with every chunk of every answer

    @property
    def model(self) -> str:
        """What the runtime calls the model."""
        return self.backend.model

    @property
    def capabilities(self) -> Capabilities:
        """What this runtime does natively, probed."""
        return self.backend.capabilities

    def chat(self, conversation: Conversation, *, tools: Sequence[Any] | None = None,
             tool_choice: Any = "auto", parallel_tool_calls: bool = False, grounded: bool | None = None,
             schema: Any = None, **options) -> Reply:
        """One answer.

        conversation: a text, or OpenAI messages.
        tools: functions, Tools or OpenAI tool dicts; tool_choice: "auto" (a call or words), "required",
            "none", or a tool's name; parallel_tool_calls: allow several calls in one turn;
            grounded: take texts and numbers in arguments from the conversation, do not make them up. None: so for a
                model that was not trained to call tools. One that was does better without, by measurement: it
                puts dates and numbers into the form that the tool asks for.
        schema: a pydantic model or JSON schema; the answer then has `.parsed`.
        options: max_tokens=512, temperature=0.0, top_p=1.0, seed=None, stop=None.

        Raises BadRequest (ContextFull for a prompt that is too long), IncompleteOutput when a
        schema's answer was cut or fails the model's own validators, BackendUnavailable.
        """
        return self.stream(conversation, tools=tools, tool_choice=tool_choice, schema=schema,
                           parallel_tool_calls=parallel_tool_calls, grounded=grounded, **options).reply

    def stream(self, conversation: Conversation, *, tools: Sequence[Any] | None = None,
               tool_choice: Any = "auto", parallel_tool_calls: bool = False, grounded: bool | None = None,
               schema: Any = None, **options) -> Stream:
        """The same as `chat`, as it comes: iterate for text, then read `.reply`. A call shows no text."""
        messages, checked = normalise(conversation), _options(options)
        mode, offered = calling.parse_choice(tool_choice, as_tools(tools))
        if schema is not None:
            if mode != "none":
                raise BadRequest("Give either tools= or schema=: the answer is a call or a value, not both.")
            return self._schema_stream(messages, schema, checked)
        if mode == "none":
            return self._plain_stream(messages, checked)
        if self.capabilities.tools:
            return self._tool_stream(NativeTurn(
                self.backend, messages, offered, mode, parallel_tool_calls, checked))
        is_trained = self.capabilities.trained
        if is_trained:
            trained.warn_of_changes(offered, self.backend.trained_on)
        ground = not is_trained if grounded is None else grounded
        return self._tool_stream((TrainedTurn if is_trained else ToolTurn)(
            self.backend, messages, offered, mode, parallel_tool_calls, ground, checked))

    async def achat(self, conversation: Conversation, **arguments) -> Reply:
        """`chat` without blocking the event loop; cancelling the task stops the generation."""
        stream = await asyncio.to_thread(self.stream, conversation, **arguments)
        try:
            return await asyncio.to_thread(lambda: stream.reply)
        except asyncio.CancelledError:
            stream.stop()
            raise

    def count_tokens(self, text: str) -> int:
        """Length of `text` in this model's tokens."""
        return self.backend.count_tokens(text)

    def close(self) -> None:
        """Let go of the model; later calls raise BackendUnavailable."""
        self.backend.close()

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<labkit {self.backend.name}: {self.model}>"

    # -- the three kinds of answer ---------------------------------------------------------

    def _plain_stream(self, messages: list[dict], options: Options) -> Stream:
        return self._stream(self._generate(messages, options), lambda reply: reply, stops=options.stops)

    def _schema_stream(self, messages: list[dict], schema: Any, options: Options) -> Stream:
        document, parse = _schema(schema)

        def finish(reply: Reply) -> Reply:
            if reply.finish_reason == "cancelled":
                return reply
            value = calling.read_json(reply.text, reply.finish_reason, options.max_tokens)
            return replace(reply, parsed=parse(value))

        chunks = self._generate(messages, options, calling.json_constraint(document))
        return self._stream(chunks, finish)

    def _tool_stream(self, turn: ToolTurn | TrainedTurn | NativeTurn) -> Stream:
        return self._stream(turn.chunks(), turn.finish, stops=turn.options.stops, shows_text=turn.in_words)

    def _stream(self, chunks: Iterator[Chunk], finish: Callable[[Reply], Reply], **kwargs) -> Stream:
        return Stream(chunks, finish, model=self.model, observers=self.on_chunk, **kwargs)

    def _generate(self, messages: list[dict], options: Options, constraint: Constraint | None = None):
        return repair.generate(self.backend, options.request(messages, constraint))


def _options(given: Mapping[str, Any]) -> Options:
    known = {f.name for f in fields(Options)}
    if unknown := sorted(given.keys() - known):
        raise BadRequest(f"There is no option {unknown[0]!r}. Use: {', '.join(sorted(known))}.")
    return Options(**given)


def _schema(schema: Any) -> tuple[Mapping[str, Any], Callable[[Any], Any]]:
    """(JSON schema, value -> what `.parsed` holds) for a pydantic model or a JSON schema."""
    if isinstance(schema, Mapping):
        return bounded(schema), lambda value: value
    if hasattr(schema, "model_json_schema"):
        return bounded(schema.model_json_schema()), lambda value: _validated(schema, value)
    raise BadRequest(f"schema={schema!r}: give a pydantic model or a JSON schema as a dict.")


def _validated(model: Any, value: Any) -> Any:
    """The value as an instance; what a schema cannot say (the model's own validators) is checked here."""
    from pydantic import ValidationError
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise IncompleteOutput(
            f"The answer fits the schema, but not {model.__name__}: {where}: {first['msg']}") from error
