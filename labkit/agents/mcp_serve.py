"""labkit's tools as an MCP server: in this process, over HTTP on this machine, or over stdin and stdout.

Knows tools and the protocol's three messages for them, no model and no agent. It does not know who is asking: there
is no login, so it listens on the loopback address only.
"""
from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError, stdio_server
from mcp.server import Server

from labkit.errors import BackendUnavailable, BadRequest, ToolError
from labkit.tools.messages import well_formed
from labkit.tools.tool import Tool, as_tools

_START_S = 20.0


def tool_server(tools: Sequence[Any], *, name: str = "labkit", read_only: Sequence[str] = ()) -> Server:
    """An MCP server that offers `tools` (functions, Tools) under their names, descriptions and schemas.

    read_only: names of those that change nothing; a client may run them without asking a person.
    Serve it with serve_http() or serve_stdio(), or give it to mcp_tools() as it is.
    Raises BadRequest for two tools of one name, a tool without a function, a name in read_only that is no tool.
    """
    offered = {tool.name: tool for tool in as_tools(tools)}
    if unknown := [name for name in read_only if name not in offered]:
        raise BadRequest(f"read_only names {unknown[0]!r}, which is no tool here. There are: {', '.join(offered)}.")
    if empty := [tool.name for tool in offered.values() if tool.function is None]:
        raise BadRequest(f"Tool {empty[0]!r} has no function, so a server cannot run it.")

    async def list_tools(context, params) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool, tool.name in read_only) for tool in offered.values()])

    async def call_tool(context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in offered:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}.")
        return await anyio.to_thread.run_sync(_run, offered[params.name], params.arguments or {},
                                              abandon_on_cancel=True)

    return Server(name, on_list_tools=list_tools, on_call_tool=call_tool)


def _described(tool: Tool, read_only: bool) -> types.Tool:
    hint = types.ToolAnnotations(read_only_hint=True) if read_only else None
    return types.Tool(name=tool.name, description=tool.description, input_schema=dict(tool.parameters),
                      annotations=hint)


def _run(tool: Tool, arguments: Mapping[str, Any]) -> types.CallToolResult:
    """The result of a call. An error of the tool is a result too, marked as one: the model is to read it."""
    try:
        result = tool.run(arguments)
    except ToolError as error:
        return types.CallToolResult(content=[_text(str(error))], is_error=True)
    try:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str,
                                                                 allow_nan=False)
    except (TypeError, ValueError):  # keys that are no text, a list that holds itself, not a number
        return types.CallToolResult(content=[_text(str(result))])
    value = json.loads(well_formed(text)) if isinstance(result, Mapping) else None
    return types.CallToolResult(content=[_text(text)], structured_content=value)


def _text(text: str) -> types.TextContent:
    return types.TextContent(text=well_formed(text))


def serve_stdio(server: Server) -> None:
    """Serve over this process's stdin and stdout until stdin closes. What tools print goes to stderr."""
    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


@contextmanager
def serve_http(server: Server, port: int = 0) -> Iterator[str]:
    """Serve over HTTP on this machine until the `with` block ends; gives the address. port 0: a free one.

    Raises BackendUnavailable when the port is taken.
    """
    import uvicorn
    with _listening(port) as listening:
        config = uvicorn.Config(server.streamable_http_app(), log_config=None, log_level="error", ws="none",
                                timeout_keep_alive=75, timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True,
                                  name="labkit mcp server")
        thread.start()
        try:
            _wait(running, thread)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            running.should_exit = True
            thread.join()


def _listening(port: int) -> socket.socket:
    # The protocol by name: only then asyncio turns Nagle's algorithm off, which would cost 40 ms a call
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would share a port that is taken
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(16)
        return listening
    except OSError as error:
        listening.close()
        raise BackendUnavailable(f"Port {port} cannot be used ({error.strerror}). Port 0 takes a free one.") from error


def _wait(running, thread: threading.Thread) -> None:
    end = time.monotonic() + _START_S
    while not running.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise BackendUnavailable("The MCP server did not start.")
        time.sleep(0.005)


def tools_in(file: str | Path) -> list[Tool]:
    """The tools that a Python file defines, in its order. Raises BadRequest when there are none."""
    path = Path(file)
    if not path.is_file():
        raise BadRequest(f"There is no file {path}.")
    spec = importlib.util.spec_from_file_location(f"tools_of_{path.stem}", path)  # a file may be called json.py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module    # where dataclasses look for their own module
    with redirect_stdout(sys.stderr):  # stdout may be the wire
        spec.loader.exec_module(module)
    found = {id(value): value for value in vars(module).values() if isinstance(value, Tool)}
    if not found:
        raise BadRequest(f"{path.name} defines no tool. Write @lk.tool above a function.")
    return list(found.values())


def serve_file(file: str | Path, port: int | None = None, read_only: Sequence[str] = ()) -> None:
    """Serve a file's tools until the client or Ctrl-C ends it: over stdin and stdout, or at a port. `labkit mcp FILE`

    Raises BadRequest for a file without tools, BackendUnavailable when the port is taken.
    """
    sys.path.insert(0, str(Path(file).parent.resolve()))  # as Python does for a script
    server = tool_server(tools_in(file), name=Path(file).stem, read_only=read_only)
    with suppress(KeyboardInterrupt):  # how a person ends it
        if port is None:
            _talk(server)
        else:
            _stay(server, port)


def _talk(server: Server) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that reads stdin would not let Ctrl-C end us
    if sys.stdin.isatty():
        print(f"{server.name} waits for a program that speaks MCP on its stdin. Stop it with Ctrl-C. "
              "For an address instead: --http PORT", file=sys.stderr)
    serve_stdio(server)


def _stay(server: Server, port: int) -> None:
    with serve_http(server, port) as url:
        print(f"{server.name} is at {url}. Stop it with Ctrl-C.", file=sys.stderr, flush=True)
        threading.Event().wait()
