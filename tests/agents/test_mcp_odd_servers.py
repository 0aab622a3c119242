"""MCP servers that lie, hang, die or are not there: an error in words each time, and nothing left behind."""
from __future__ import annotations

import json
import subprocess
import sys
import threading

import psutil
import pytest
from connecting import SERVERS, SHOP, by_hand, living

import labkit as lk
from labkit.agents import mcp_connection
from labkit.agents.mcp import always, mcp_tools, serve_http, tool_server


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Whatever a test does: no child process and no thread of its own after it."""
    before = living()
    yield
    assert living() <= before


@pytest.fixture(scope="module")
def odd():
    """One by_hand server for the tests that leave it as it was."""
    with by_hand(confirm=always, timeout_s=20) as tools:
        yield {tool.name: tool for tool in tools}


# -- servers that misbehave ----------------------------------------------------------------


@pytest.mark.parametrize("name, words", [
    ("liar", r"liar: the server broke its own promise\."),
    ("nothing", "nothing: the server's answer is no result of a tool"),
    ("unknown", "unknown: tools/call is not for me"),
])
def test_a_wrong_answer_is_an_error_and_the_next_call_works(odd, name, words):
    with pytest.raises(lk.ToolError, match=words):
        odd[name].run({"text": "x"})
    assert odd["echo"].run({"text": "still here"}) == "still here"


@pytest.mark.parametrize("name, words", [
    ("picture", "[image/png, 6 bytes, which a text model cannot read]\n[a link: file:///a]"), ("silent", ""),
    ("loud", "x"), ("megabyte", "x" * 1_000_000),
])
def test_any_content_becomes_words(odd, name, words):
    assert odd[name].run({"text": "x"}) == words


def test_a_long_error_is_cut(odd):
    with pytest.raises(lk.ToolError) as caught:
        odd["long_error"].run({})
    assert 1000 < len(str(caught.value)) < 5000


def test_a_megabyte_reaches_the_model_cut(odd, trusted_script):
    for turn in ('"megabyte"', json.dumps({"name": "megabyte", "arguments": {}}), "Much."):
        trusted_script.enqueue(turn)
    run = lk.Agent(lk.Chat(trusted_script), tools=[odd["megabyte"]]).run("How much?")
    assert run.text == "Much." and len(trusted_script.requests[-1].messages[-1]["content"]) < 5000


def test_a_server_that_dies_in_a_call_is_said_to_be_gone():
    with by_hand() as tools:
        named = {tool.name: tool for tool in tools}
        for name in ("die", "echo"):
            with pytest.raises(lk.ToolError, match=rf"{name}: .*by_hand.py all is gone \(the disk is full\)\. Connect"):
                named[name].run({"text": "hi"})


def test_a_server_that_hangs_is_left_waiting_and_answers_later():
    with by_hand(timeout_s=0.5, allow=["hang", "echo"]) as (echo, hang):
        with pytest.raises(lk.ToolError, match=r"hang: no answer within 0\.5 s\. The connection is kept"):
            hang.run({"text": "0.8"})
        assert threading.Event().wait(0.4) is False
        assert echo.run({"text": "back"}) == "back"


def test_a_hanging_server_is_ended_by_close():
    with by_hand(timeout_s=0.3, allow=["hang"]) as (hang,), pytest.raises(lk.ToolError):
        hang.run({"text": "60"})


def test_an_http_server_that_stops_is_said_to_be_gone():
    with serve_http(tool_server(SHOP, read_only=["order_status"])) as url:
        tools = mcp_tools(url)
        assert tools[0].run({"order_id": "A-1042"})
    with tools, pytest.raises(lk.ToolError, match=rf"the server {url} is gone"):
        tools[0].run({"order_id": "A-1042"})


def test_a_closed_connection_says_so():
    tools = mcp_tools(tool_server(SHOP, read_only=["order_status"]))
    tools.close()
    tools.close()
    with pytest.raises(lk.ToolError, match="was closed. Connect again"):
        tools[0].run({"order_id": "A-1042"})


def test_an_interrupt_during_a_call_leaves_the_connection_usable(monkeypatch):
    def interrupted(self, timeout=None):
        raise KeyboardInterrupt
    with by_hand(allow=["echo"]) as (echo,):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("concurrent.futures.Future.result", interrupted)
            echo.run({"text": "hi"})
        assert echo.run({"text": "hi"}) == "hi"


# -- no server at all ----------------------------------------------------------------------


@pytest.mark.parametrize("source, words", [
    (["no-such-command"], "no-such-command cannot be started: .*Is the command installed"),
    ([sys.executable, "-c", "import no_such_module"], "ended at once .*No module named 'no_such_module'.*terminal"),
    ("http://127.0.0.1:9/mcp", "No MCP server answers as http://127.0.0.1:9/mcp"),
])
def test_no_server_says_what_to_do(source, words):
    with pytest.raises(lk.BackendUnavailable, match=words):
        mcp_tools(source)


def test_a_program_that_is_no_server_is_not_waited_for():
    with pytest.raises(lk.BackendUnavailable, match=r"said nothing as an MCP server within 0\.5 s"):
        mcp_tools([sys.executable, "-c", "import sys; sys.stdin.read()"], timeout_s=0.5)


def test_a_web_page_is_no_server():
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>Welcome</h1>")

        def log_message(self, *_):
            pass
    with HTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        with pytest.raises(lk.BackendUnavailable, match="No MCP server answers as http"):
            mcp_tools(f"http://127.0.0.1:{web.server_port}/mcp", timeout_s=5)
        web.shutdown()


@pytest.mark.parametrize("source", ["shop.py", "", [], None, 7, b"x"])
def test_a_source_that_is_none_is_refused(source):
    with pytest.raises(lk.BadRequest, match="give a server, an address"):
        mcp_tools(source)


@pytest.mark.parametrize("seconds", [0, -1, None, "10", float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(seconds):
    with pytest.raises(lk.BadRequest, match="give seconds"):
        mcp_tools(tool_server(SHOP), timeout_s=seconds)


def test_a_connection_that_nobody_closed_ends_with_the_program():
    command = [sys.executable, str(SERVERS / "by_hand.py")]
    code = (f"from labkit.agents.mcp import mcp_tools; (tool,) = mcp_tools({command!r}, allow=['pid']); "
            "print(tool.run({}))")
    pid = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert not psutil.pid_exists(int(pid))


def test_a_path_is_named_by_its_last_part():
    assert mcp_connection.label(["/a/b/python", "-m", "x", "/c/shop.py"]) == "python -m x shop.py"
