"""Tools of MCP servers: the same over three transports, run only with permission, refused where they cannot be used."""
from __future__ import annotations

import asyncio
import threading
import warnings
from contextlib import ExitStack

import pytest
from connecting import SHOP, SHOP_COMMAND, by_hand, living
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError as RefusedError

import labkit as lk
from labkit.agents.mcp import always, mcp_tools, serve_http, tool_server
from labkit.tools.tool import as_tools


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Whatever a test does: no child process and no thread of its own after it."""
    before = living()
    yield
    assert living() <= before


@pytest.fixture(scope="module", params=["memory", "stdio", "http"])
def tools(request):
    """The same tools behind each transport."""
    server = tool_server(SHOP, name="shop", read_only=["order_status"])
    with ExitStack() as stack:
        source = {"stdio": lambda: SHOP_COMMAND, "memory": lambda: server,
                  "http": lambda: stack.enter_context(serve_http(server))}[request.param]()
        yield stack.enter_context(mcp_tools(source, confirm=always))


# -- honest servers ------------------------------------------------------------------------


def test_tools_survive_every_transport_unchanged(tools):
    assert [t.to_openai() for t in tools] == [t.to_openai() for t in SHOP]
    found = tools[0].run({"order_id": "A-1042", "note": "ü 🚚 \ud800"})
    assert found == {"order": "A-1042", "status": "shipped", "note": "ü 🚚 \ufffd"}
    assert tools[1].run({"order_id": "A-1042"}) == tools[1](order_id="A-1042") == "A-1042 is cancelled"


@pytest.mark.parametrize("arguments", [{"order_id": "Z-9"}, {"order": "A-1042"}, {"order_id": 7}])
def test_an_error_keeps_its_words_on_every_transport(tools, arguments):
    with pytest.raises(lk.ToolError) as here:
        SHOP[0].run(arguments)
    with pytest.raises(lk.ToolError) as there:
        tools[0].run(arguments)
    assert str(there.value) == str(here.value)


def test_calls_from_many_threads(tools, in_thread):
    calls = [in_thread(lambda i=i: tools[0].run({"order_id": "A-1042", "note": str(i)})) for i in range(8)]
    assert [call()["note"] for call in calls] == [str(i) for i in range(8)]


def test_an_agent_uses_them_like_its_own(slm):
    def set_timer(minutes: int) -> str:
        """Start a countdown. Args: minutes: how long."""
        return f"{minutes} min"
    with mcp_tools(tool_server(SHOP, read_only=["order_status"]), allow=["order_status"]) as tools:
        run = lk.Agent(slm, tools=[*tools, set_timer], max_tokens=40).run("Where is my order A-1042?")
    assert [str(call) for call in run.calls] == ["order_status(order_id='A-1042')"]
    assert run.steps[1].result["status"] == "shipped" and run.text


def test_it_works_where_a_loop_runs_already():
    async def cell():
        with by_hand(allow=["echo"]) as (echo,), mcp_tools(tool_server(SHOP), confirm=always) as tools:
            return echo.run({"text": "hi"}), tools[1].run({"order_id": "B-7"})
    assert asyncio.run(cell()) == ("hi", "B-7 is cancelled")


def test_a_server_of_the_sdk_with_plain_values():
    server = MCPServer("sums")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @server.tool()
    def refuse() -> str:
        """Refuse."""
        raise RefusedError("never on Sundays")
    with mcp_tools(server, confirm=always) as tools:
        assert tools[0].run({"a": 2, "b": 3}) == 5
        with pytest.raises(lk.ToolError, match="never on Sundays"):
            tools[1].run({})


# -- permission ----------------------------------------------------------------------------


def test_what_is_not_marked_read_only_needs_a_yes():
    asked = []
    answers = {"writes": True, "unmarked": "no"}  # a word is no permission

    def confirm(name, arguments):
        asked.append((name, dict(arguments)))
        arguments["text"] = "changed"
        return answers[name]
    with by_hand(confirm=confirm, allow=["echo", "writes", "unmarked"]) as (echo, writes, unmarked):
        assert echo.run({"text": "hi"}) == "hi" and asked == []
        assert writes.run({"text": "hi"}) == "hi" and asked == [("writes", {"text": "hi"})]
        for call in (lambda: unmarked.run({}), lambda: unmarked(), lambda: unmarked.function()):
            with pytest.raises(lk.ToolError, match="unmarked: not run, it was not confirmed"):
                call()


def test_without_anyone_to_ask_it_refuses_and_says_what_to_pass():
    with (by_hand(allow=["writes"]) as (writes,),
          pytest.raises(lk.ToolError, match=r"not run.*Pass mcp_tools\(…, confirm=…\)")):
        writes.run({"text": "hi"})
    with by_hand(allow=["writes"], confirm=always) as (writes,):
        assert writes.run({"text": "hi"}) == "hi"


def test_a_person_may_take_longer_than_the_server():
    def slowly(name, arguments):
        return not threading.Event().wait(0.4)
    with by_hand(confirm=slowly, timeout_s=20, allow=["writes"]) as (writes,):
        object.__setattr__(writes, "time_limit_s", 0.1)  # the limit of Tool.run, which does not hold here
        assert writes.run({"text": "hi"}) == "hi"


def test_allow_takes_what_it_names_and_nothing_else():
    with by_hand(allow=["pid", "echo"]) as tools:
        assert [tool.name for tool in tools] == ["echo", "pid"]
    with by_hand(allow=[]) as tools:
        assert tools == []
    with pytest.raises(lk.BadRequest, match="has no tool 'Echo'. It has: echo, die"):
        by_hand(allow=["Echo"])
    with pytest.raises(lk.BadRequest, match="give a list"):
        by_hand(allow="echo")


# -- names ---------------------------------------------------------------------------------


def test_a_prefix_keeps_two_servers_apart():
    server = tool_server(SHOP, read_only=["order_status"])
    with mcp_tools(server) as first, mcp_tools(server, prefix="b_") as second:
        assert [t.name for t in as_tools([*first, *second])] == ["order_status", "cancel_order",
                                                                 "b_order_status", "b_cancel_order"]
        assert second[0].run({"order_id": "A-1042"})["status"] == "shipped"
        with pytest.raises(lk.BadRequest, match="Two tools are called 'order_status'"):
            lk.Agent(None, tools=[*first, SHOP[0]])


@pytest.mark.parametrize("listing, words", [
    ("twice", "lists two tools called 'echo'"), ("bad_name", "'two words' cannot name a tool"),
    ("bad_schema", "Tool 'odd' has an invalid schema"),
    ("no_object", r"tools\.1\.inputSchema\.type: Input should be 'object'"),
    ("no_schema", r"tools\.0\.inputSchema: Field required"),
    ("outside", "'odd' has a schema that refers to 'http://127.0.0.1:9/schema', outside"),
    ("nowhere", "'odd' has a schema that refers to '#/\\$defs/missing', which is not in it"),
    ("pages", "more than 100 pages"),
])
def test_a_listing_that_cannot_be_used_is_refused_by_name(listing, words):
    with pytest.raises(lk.BadRequest, match=words):
        by_hand(listing)


def test_allow_leaves_the_bad_tool_out():
    for listing, good in (("bad_schema", "echo"), ("bad_name", "echo"), ("twice", "pid")):
        with by_hand(listing, allow=[good]) as (tool,):
            assert tool.run({"text": "hi"})


def test_a_schema_without_end_stops_the_call_and_nothing_else():
    with by_hand("endless") as (echo,), pytest.raises(lk.ToolError, match="refers to itself without end"):
        echo.run({"text": "hi"})


def test_a_server_without_tools_gives_none():
    with by_hand("none") as tools:
        assert tools == []


def test_two_hundred_tools_work_and_are_warned_of():
    def make(i):
        return lk.tool(lambda: i, name=f"tool_{i}", description=f"Gives {i}.")
    server = tool_server(list(map(make, range(200))))
    with pytest.warns(UserWarning, match=r"offers 200 tools.*allow=") as caught, \
         mcp_tools(server, confirm=always) as tools:
        assert len(tools) == 200 and tools[199].run({}) == "199"
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"), mcp_tools(server, allow=["tool_7"]) as tools:
        assert [tool.name for tool in tools] == ["tool_7"]
