"""labkit's chat client in Microsoft Agent Framework: its agents, tools, middleware, sessions, workflows and traces."""
from __future__ import annotations

import asyncio
import json

import pytest
from agent_framework import Agent, Content, Message, agent_middleware, function_middleware, tool
from agent_framework.exceptions import (
    ChatClientException,
    ChatClientInvalidRequestException,
    ChatClientInvalidResponseException,
)
from pydantic import BaseModel

from labkit.agents.agent_framework import LabkitChatClient, openai_messages
from labkit.errors import BackendUnavailable

ORDERS = {"A-1042": "shipped on Monday"}


@tool(approval_mode="never_require")
def order_status(order_id: str) -> str:
    """Status of an order."""
    return ORDERS[order_id]


@tool(approval_mode="never_require")
def opening_hours(day: str) -> str:
    """When the shop is open on a day of the week."""
    return f"{day}: 9 to 17"


class Place(BaseModel):
    city: str
    country: str


def desk(client, **given) -> Agent:
    return Agent(client, "You help customers.", name="desk", tools=[order_status, opening_hours], **given)


def types(message: Message) -> list[str]:
    return [content.type for content in message.contents]


# -- the real model ------------------------------------------------------------------------


def test_an_agent_calls_the_right_tool_and_answers(client):
    answer = asyncio.run(desk(client).run("Where is my order A-1042?"))
    assert [types(m) for m in answer.messages] == [["function_call"], ["function_result"], ["text"]]
    call, result = answer.messages[0].contents[0], answer.messages[1].contents[0]
    assert call.name == "order_status" and call.parse_arguments() == {"order_id": "A-1042"}
    assert result.result == "shipped on Monday" and "shipped" in answer.text
    assert answer.usage_details["output_token_count"] > 5 < answer.usage_details["input_token_count"]


def test_the_same_as_it_comes(client):
    async def run():
        stream = desk(client).run("Where is my order A-1042?", stream=True)
        return [update async for update in stream], await stream.get_final_response()
    updates, answer = asyncio.run(run())
    pieces = [u.text for u in updates if u.text]
    assert len(pieces) > 3 and "".join(pieces) == answer.text and "shipped" in answer.text
    assert [c.name for u in updates for c in u.contents if c.type == "function_call"] == ["order_status"]
    assert answer.usage_details["output_token_count"] > 5


@pytest.mark.parametrize("wanted", [Place, Place.model_json_schema(),
                                    {"type": "json_schema", "json_schema": {"schema": Place.model_json_schema()}}])
def test_a_schema_is_kept_to(client, wanted):
    answer = asyncio.run(Agent(client).run("Paris is in France.", options={"response_format": wanted,
                                                                           "max_tokens": 60}))
    assert Place.model_validate_json(answer.text)
    assert not isinstance(wanted, type) or isinstance(answer.value, Place)


def test_a_session_keeps_the_conversation_and_options_arrive(scripted):
    client, script = scripted
    script.enqueue("Hello Ada.").enqueue("Ada.")

    async def run():
        agent = Agent(client, "Be brief.", default_options={"max_tokens": 12, "seed": 1, "temperature": 0.5})
        session = agent.create_session()
        await agent.run("My name is Ada.", session=session)
        return await agent.run("What is my name?", session=session)
    assert asyncio.run(run()).text == "Ada."
    request = script.requests[-1]
    assert (request.max_tokens, request.seed, request.temperature) == (12, 1, 0.5)
    assert [m["content"] for m in request.messages] == ["Be brief.", "My name is Ada.", "Hello Ada.",
                                                        "What is my name?"]


def test_who_leaves_early_leaves_the_model_usable(client):
    async def run():
        async for update in Agent(client).run("Count from 1 to 100.", stream=True):
            if update.text:
                break
        return await Agent(client).run("Hello", options={"max_tokens": 4})
    assert asyncio.run(run()).text


def test_a_cancelled_run_stops_the_model(client):
    async def run():
        task = asyncio.create_task(client.get_response([Message("user", ["Count from 1 to 1000."])],
                                                       options={"max_tokens": 4000}))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await client.get_response([Message("user", ["Hello"])], options={"max_tokens": 4})
    assert asyncio.run(asyncio.wait_for(run(), 20)).text


# -- what the framework puts around it -----------------------------------------------------


def test_middleware_sees_the_run_and_each_call(client):
    seen = []

    @agent_middleware
    async def audit(context, call_next):
        seen.append("run")
        await call_next()

    @function_middleware
    async def calls(context, call_next):
        seen.append((context.function.name, dict(context.arguments)))
        await call_next()
    asyncio.run(desk(client, middleware=[audit, calls]).run("Where is my order A-1042?"))
    assert seen == ["run", ("order_status", {"order_id": "A-1042"})]


def test_traces_have_the_field_s_names(client):
    from agent_framework.observability import enable_instrumentation
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    kept = InMemorySpanExporter()
    trace.set_tracer_provider(provider := TracerProvider())
    provider.add_span_processor(SimpleSpanProcessor(kept))
    enable_instrumentation()
    asyncio.run(desk(client).run("Where is my order A-1042?"))
    spans = kept.get_finished_spans()
    assert sorted(s.name.split()[0] for s in spans) == ["chat", "chat", "execute_tool", "invoke_agent"]
    chat = next(s.attributes for s in spans if s.name.startswith("chat"))
    assert chat["gen_ai.provider.name"] == "labkit" and chat["gen_ai.usage.output_tokens"] > 0
    assert chat["gen_ai.request.model"] == client.model


def test_a_router_stands_where_a_model_stands(slm):
    from labkit.agents.policies import rules
    from labkit.agents.remote_tier import StandIn
    from labkit.agents.routing import Router, Tier
    cloud = StandIn({}, error_rate=0, latency_s=0)
    routed = LabkitChatClient(Router(slm, Tier(cloud, remote=True), rules({"explain": "large"})))
    assert asyncio.run(desk(routed).run("Explain tides.")).text == "No tool fits."
    answer = asyncio.run(desk(routed).run("Where is my order A-1042?"))
    assert answer.messages[0].contents[0].name == "order_status" and routed.slm.log[-1].tier == "small"

    async def read():
        return [u.text async for u in Agent(routed).run("Explain tides.", stream=True) if u.text]
    assert asyncio.run(read()) == ["No tool fits."] and "Router" in routed.service_url()


# -- what cannot be used -------------------------------------------------------------------


def ask(client, contents=("Hello",), **options):
    return asyncio.run(client.get_response([Message("user", list(contents))], options=options))


@pytest.mark.parametrize(("contents", "options", "words"), [
    ([Content.from_uri("https://example.org/cat.png", media_type="image/png")], {}, "read text only"),
    (["Hello"], {"logit_bias": {"1": 2.0}}, "'logit_bias'"),
    (["Hello"], {"tools": [{"type": "web_search"}]}, "a tool of a service"),
    (["word " * 9000], {}, "The prompt has"),
])
def test_what_the_caller_can_mend_says_how(client, contents, options, words):
    with pytest.raises(ChatClientInvalidRequestException, match=words):
        ask(client, contents, **options)
    assert ask(client, max_tokens=2).text, "and the client is as before"


def test_a_cut_value_is_no_value(client):
    with pytest.raises(ChatClientInvalidResponseException):
        ask(client, ["Write a long story."], response_format=Place, max_tokens=1)


def test_a_runtime_that_fails_is_named_also_in_mid_answer(scripted):
    client, script = scripted
    script.enqueue("half a ", BackendUnavailable("The server went away."))
    script.enqueue("half a ", BackendUnavailable("The server went away."))
    with pytest.raises(ChatClientException, match="The server went away"):
        ask(client)

    async def read():
        return [u async for u in client.get_response([Message("user", ["Hello"])], stream=True)]
    with pytest.raises(ChatClientException, match="The server went away"):
        asyncio.run(read())


def test_a_tool_that_fails_is_told_to_the_model(scripted):
    client, script = scripted
    for answer in ('"order_status"', '{"name": "order_status", "arguments": {"order_id": "B-1"}}',
                   '"none"', "I cannot find it."):
        script.enqueue(answer)
    answer = asyncio.run(desk(client).run("Where is B-1?"))
    told = script.requests[-1].messages[-1]["content"]
    assert "Error: Function failed." in told and answer.text == "I cannot find it."


def test_a_megabyte_from_a_tool_is_cut(scripted):
    client, script = scripted

    @tool(approval_mode="never_require")
    def everything() -> str:
        """All there is."""
        return "x" * 1_000_000
    for answer in ('"everything"', '{"name": "everything", "arguments": {}}', "Much."):
        script.enqueue(answer)
    assert asyncio.run(Agent(client, tools=[everything]).run("All of it?")).text == "Much."
    assert "(996000 more characters)" in script.requests[-1].messages[-1]["content"]


def test_messages_become_openai_s():
    call = Content.from_function_call("c1", "order_status", arguments={"order_id": "A-1042"})
    made = openai_messages([
        Message("system", ["Be brief.", "Be kind."]), Message("user", ["Where?"]), Message("assistant", [call]),
        Message("tool", [Content.from_function_result("c1", result="shipped"),
                         Content.from_function_result("c2", result={"n": 1})])])
    assert [m["role"] for m in made] == ["system", "user", "assistant", "tool", "tool"]
    assert made[0]["content"] == "Be brief.\nBe kind." and made[3]["tool_call_id"] == "c1"
    function = made[2]["tool_calls"][0]["function"]
    assert function["name"] == "order_status" and json.loads(function["arguments"]) == {"order_id": "A-1042"}
    assert made[3]["content"] == "shipped" and "n" in made[4]["content"]


def test_only_the_allowed_tools_are_offered(scripted):
    client, script = scripted
    script.enqueue('{"name": "opening_hours", "arguments": {"day": "Friday"}}').enqueue("9 to 17.")
    ask(client, ["Friday?"], tools=[order_status, opening_hours], max_tokens=50,
        tool_choice={"mode": "required", "allowed_tools": ["opening_hours"]})
    assert "order_status" not in str(script.requests[0].messages)
