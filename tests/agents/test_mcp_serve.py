"""labkit's tools as an MCP server: what is offered, what comes back, and the command."""
from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import labkit as lk
from labkit.agents.mcp import always, mcp_tools, serve_http, tool_server
from labkit.agents.mcp_serve import tools_in

SHOP = Path(__file__).parent / "mcp_servers" / "shop.py"


def given(result):
    """What arrives of a tool's result."""
    server = tool_server([lk.tool(lambda: result, name="give")])
    with mcp_tools(server, confirm=always) as (give,):
        return give.run({})


def loop() -> list:
    """A list that holds itself."""
    endless: list = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize("result, arrives", [
    ("words", "words"), ("", ""), ({"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}), ({}, {}), ([1, 2], "[1, 2]"),
    (None, "null"), (3, "3"), (True, "true"), ({"result": 3}, {"result": 3}), ({1: 2}, {"1": 2}),
    ("lone \ud800", "lone \ufffd"), ({"x": "\ud800"}, {"x": "\ufffd"}), ({"x": float("nan")}, "{'x': nan}"),
    ({(1, 2): 3}, "{(1, 2): 3}"), (loop(), "[[...]]"), (Path("a"), '"a"'),
])
def test_any_result_arrives(result, arrives):
    assert given(result) == arrives


def test_a_tool_is_run_by_its_own_rules():
    def soon(seconds: float) -> str:
        """Wait."""
        return "late" if threading.Event().wait(seconds) else "done"
    slow = lk.tool(soon, time_limit_s=0.1)
    with mcp_tools(tool_server([slow]), confirm=always) as (wait,):
        with pytest.raises(lk.ToolError, match="soon gave no answer within 0.1 s"):
            wait.run({"seconds": 1.0})
        assert wait.run({"seconds": 0.0}) == "done"


def test_what_cannot_be_served_is_refused():
    with pytest.raises(lk.BadRequest, match="Two tools are called 'give'"):
        tool_server([lk.tool(lambda: 1, name="give"), lk.tool(lambda: 2, name="give")])
    with pytest.raises(lk.BadRequest, match="'ask' has no function"):
        tool_server([{"type": "function", "function": {"name": "ask"}}])
    with pytest.raises(lk.BadRequest, match="read_only names 'x'.*There are: give"):
        tool_server([lk.tool(lambda: 1, name="give")], read_only=["x"])


def test_a_taken_port_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(lk.BackendUnavailable, match=f"Port {port} cannot be"), serve_http(tool_server([]), port):
            pass


def test_another_site_in_a_browser_is_refused():
    import httpx
    with serve_http(tool_server([])) as url:
        for header in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            assert httpx.post(url, json={}, headers=header).status_code in (403, 421)


def test_a_file_gives_its_tools_in_order(tmp_path, capsys):
    assert [tool.name for tool in tools_in(SHOP)] == ["order_status", "cancel_order"]
    assert capsys.readouterr().out == ""
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    for file, words in (("empty.py", "defines no tool. Write @lk.tool"), ("none.py", "There is no file")):
        with pytest.raises(lk.BadRequest, match=words):
            tools_in(tmp_path / file)


def test_the_command_speaks_json_lines_and_nothing_else():
    """By hand, as any other program would: what is on stdout is the protocol, prints of the tools are not."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    asked = [{"method": "tools/list", "params": {"_meta": meta}},
             {"method": "tools/call", "params": {"name": "order_status", "arguments": {"order_id": "A-1042"},
                                                 "_meta": meta}}]
    child = subprocess.Popen([sys.executable, "-m", "labkit", "mcp", str(SHOP)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    answers = []
    for i, message in enumerate(asked):
        child.stdin.write(json.dumps({"jsonrpc": "2.0", "id": i, **message}) + "\n")
        child.stdin.flush()
        answers.append(json.loads(child.stdout.readline()))
    rest, heard = child.communicate(timeout=30)
    assert [answer["id"] for answer in answers] == [0, 1] and rest == "" and child.returncode == 0
    assert [tool["name"] for tool in answers[0]["result"]["tools"]] == ["order_status", "cancel_order"]
    assert answers[1]["result"]["structuredContent"]["status"] == "shipped"
    assert "a word at the start" in heard and "looked up A-1042" in heard


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
@pytest.mark.parametrize("options", [[], ["--http", "0"]])
def test_ctrl_c_ends_the_command(options):
    child = subprocess.Popen([sys.executable, "-m", "labkit", "mcp", str(SHOP), *options], stdin=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    try:
        assert "a word" in child.stderr.readline()
        if options:
            assert "shop is at http://127.0.0.1:" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) in (0, 130, -signal.SIGINT)
        assert "Traceback" not in child.stderr.read()
    finally:
        child.kill()
        child.stdin.close()
        child.stderr.close()
        child.wait()
