"""A connection to an MCP server, for code that is not async: it lives on an event loop in a thread of its own.

So it works in a notebook, where a loop runs already. Knows transports, time limits and what a server's end looks like;
no permission and no model. What a server sends is bounded in time only: one that never ends a line fills the memory.
"""
from __future__ import annotations

import asyncio
import atexit
import io
import json
import logging
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack, suppress
from pathlib import PurePath
from typing import IO, Any

import mcp_types as types
from mcp import Client, StdioServerParameters, stdio_client
from mcp.server import MCPServer, Server
from mcp_types.jsonrpc import CONNECTION_CLOSED, REQUEST_TIMEOUT
from pydantic import ValidationError

from labkit.errors import BackendUnavailable, BadRequest, LabkitError, ToolError
from labkit.tools.messages import well_formed

MOST_PAGES = 100  # of a server's list of tools: one that never ends it does not keep us
_CLOSE_S = 10.0   # the SDK gives a child two seconds to end by itself, two more after SIGTERM, then kills it
_BACKSTOP_S = 5.0
_GONE = (CancelledError, asyncio.CancelledError, OSError)

logging.getLogger("mcp").addHandler(logging.NullHandler())  # what it would say is in our errors


class Connection:
    """Connects at once; `tools` is what the server lists. Raises BackendUnavailable when it cannot.

    source: a server in this process, an address "http://127.0.0.1:8000/mcp", or a command ["python", "server.py"].
    timeout_s: for connecting, and for each call.
    """

    def __init__(self, source: Any, timeout_s: float):
        self.timeout_s, self.label = timeout_s, label(source)
        self._target, self._stderr = _target(source)
        self._ready: Future = Future()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"mcp {self.label}")
        self._thread.start()
        atexit.register(self.close)  # else a child could outlive us
        try:
            self._client, self.tools = self._ready.result()
        except BaseException as error:
            unavailable = self._unavailable(_root(error))
            self.close()
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise unavailable from error

    def _run(self) -> None:
        # Windows: only this loop can start a process, whatever loop Jupyter has chosen
        loop = asyncio.ProactorEventLoop if sys.platform == "win32" else None
        with asyncio.Runner(loop_factory=loop) as runner:
            try:
                runner.run(self._hold())
            except BaseException as error:
                if not self._ready.done():
                    self._ready.set_exception(error)

    async def _hold(self) -> None:
        """Connect, and keep the connection until close(): the SDK wants both ends in one task."""
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self.timeout_s):
                client = await stack.enter_async_context(Client(self._target))
                tools = await _listed(client)
            self._ready.set_result((client, tools))
            await self._closing.wait()

    def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool. Raises ToolError when the server is gone, gives no answer in time, or a wrong one."""
        given = json.loads(well_formed(json.dumps(dict(arguments), ensure_ascii=False)))
        try:
            return self._wait(self._client.call_tool, name, given, self.timeout_s)
        except Exception as error:
            raise ToolError(f"{name}: {self._what_happened(_root(error))}") from error

    def _wait(self, function, *arguments: Any) -> Any:
        if self._ended or not self._thread.is_alive():
            raise CancelledError
        future = asyncio.run_coroutine_threadsafe(function(*arguments), self._loop)
        try:
            return future.result(self.timeout_s + _BACKSTOP_S)
        finally:
            future.cancel()  # an interrupt must not leave the call running; one that ended does not mind

    def _what_happened(self, error: BaseException) -> str:
        """A call's failure in words."""
        code = getattr(error, "code", None)
        if code == REQUEST_TIMEOUT or isinstance(error, TimeoutError):
            return f"no answer within {self.timeout_s:g} s. The connection is kept; the server may still be at work."
        if self._ended:
            return f"the connection to {self.label} was closed. Connect again with mcp_tools(…)."
        if code == CONNECTION_CLOSED or isinstance(error, _GONE) or "httpx" in type(error).__module__:
            return f"the server {self.label} is gone{self._last_words()}. Connect again with mcp_tools(…)."
        if isinstance(error, RuntimeError):  # the SDK has compared the result with the outputSchema
            return f"the server broke its own promise. {_first_line(error)}"
        if isinstance(error, ValidationError):
            return f"the server's answer is no result of a tool: {_place(error)}."
        return _first_line(error)

    def _unavailable(self, error: BaseException) -> LabkitError:
        """Why there is no connection, and what to do."""
        if isinstance(error, LabkitError):
            return error
        if isinstance(error, TimeoutError):
            return BackendUnavailable(f"{self.label} said nothing as an MCP server within {self.timeout_s:g} s. "
                                      "Is it one? If it is only slow: mcp_tools(…, timeout_s=…).")
        if isinstance(error, ValidationError):
            return BadRequest(f"{self.label} does not keep to the protocol, which only its author can mend: "
                              f"{_place(error)}.")
        if getattr(error, "code", None) == CONNECTION_CLOSED:
            return BackendUnavailable(f"The MCP server {self.label} ended at once{self._last_words()}. "
                                      "Run its command in a terminal to see why.")
        if isinstance(error, (FileNotFoundError, PermissionError)):
            return BackendUnavailable(f"The MCP server {self.label} cannot be started: {error.strerror}. "
                                      "Is the command installed, and spelled like this?")
        return BackendUnavailable(f"No MCP server answers as {self.label} ({type(error).__name__}: "
                                  f"{_first_line(error)}). Start it first, and check the address.")

    def _last_words(self) -> str:
        """The last line that a child wrote to stderr, which in Python is the error."""
        self._stderr.seek(0)
        lines = self._stderr.read().split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" ({last[:300]})" if last else ""

    def close(self) -> None:
        """End the connection, and the child process where there is one. Once more does nothing."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self.close)
        with suppress(RuntimeError, AttributeError):  # the loop has ended, or has not begun
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSE_S)
        self._stderr.close()


def label(source: Any) -> str:
    """A source in a few words; of a path, the last part."""
    if isinstance(source, str):
        return source
    if isinstance(source, Sequence):
        return " ".join(PurePath(str(part)).name or str(part) for part in source)
    return repr(getattr(source, "name", source))


def _target(source: Any) -> tuple[Any, IO[str]]:
    """What the SDK's Client connects to, and where a child's stderr goes: Jupyter's own is no file it could have."""
    if isinstance(source, (Server, MCPServer)) or isinstance(source, str) and source.startswith(("http://", "https://")):
        return source, io.StringIO()
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)) and source:
        command, *rest = map(str, source)
        stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed with us
        return stdio_client(StdioServerParameters(command=command, args=rest), errlog=stderr), stderr
    raise BadRequest(f"mcp_tools({source!r}): give a server, an address like http://127.0.0.1:8000/mcp, or a command "
                     'as a list: ["python", "server.py"].')


async def _listed(client: Client) -> list[types.Tool]:
    tools, cursor = [], None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor:
            return tools
    raise BadRequest(f"The server's list of tools has more than {MOST_PAGES} pages.")


def _root(error: BaseException) -> BaseException:
    """The first real error in what task groups have wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]


def _place(error: ValidationError) -> str:
    """What is wrong first, and where: tools.1.inputSchema.type: …"""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
