"""Tools that live in another program, through the Model Context Protocol (MCP), and labkit's tools for others.

    from labkit.agents.mcp import mcp_tools

    with mcp_tools(["python", "shop.py"]) as shop:
        agent = lk.Agent(lk.connect(), tools=[*shop, my_own])

And the other way round, a file of tools as a server: labkit mcp shop.py

What a server says of its tools is its own claim: labkit cannot know whether a tool that calls itself read-only is,
whether a description tells the truth, or whether a pattern in a schema is cheap to check. Connect to servers whose
author you would also let install a program.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from labkit.agents.mcp_connection import Connection
from labkit.agents.mcp_serve import serve_http, serve_stdio, tool_server
from labkit.errors import BadRequest, ToolError
from labkit.tools.messages import MAX_RESULT
from labkit.tools.tool import TIME_LIMIT_S, Tool, from_openai

__all__ = ["McpTools", "always", "mcp_tools", "serve_http", "serve_stdio", "tool_server"]

LONGEST_S = 86_400
MANY = 32  # tools; from there on the prompt is mostly their descriptions
Confirm = Callable[[str, dict[str, Any]], bool]


@dataclass(frozen=True)
class McpTool(Tool):
    """A tool of a server. The connection keeps its time limit; a person who is asked may take any time."""

    def run(self, arguments: Mapping[str, Any]) -> Any:
        """Check the arguments, ask where the tool may change something, call the server. Raises ToolError."""
        self.check(arguments)
        return self(**arguments)


class McpTools(list):
    """The tools of a server, a list of Tool. Close it, or use it in a `with` block."""

    def __init__(self, tools: Sequence[Tool], connection: Connection):
        super().__init__(tools)
        self._connection = connection

    def close(self) -> None:
        """End the connection, and the server's process where it is ours."""
        self._connection.close()

    def __enter__(self) -> McpTools:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def mcp_tools(source: Any, *, timeout_s: float = TIME_LIMIT_S, allow: Sequence[str] | None = None,
              confirm: Confirm | None = None, prefix: str = "") -> McpTools:
    """Connect to an MCP server; its tools, ready for an Agent.

    source: a server in this process (tool_server), an address "http://127.0.0.1:8000/mcp", or a command as a list,
        ["python", "server.py"]. A command gets PATH, HOME and the like of our environment, no keys or tokens.
    timeout_s: for connecting, and for each call.
    allow: the only tools to take, by the server's names for them; None for all.
    confirm: confirm(name, arguments) is asked before each call of a tool that is not marked read-only, and only True
        lets it run. Without it such a tool refuses. `always` lets every call run.
    prefix: put before every name, where two servers use the same ones: "shop_".

    Raises BackendUnavailable when there is no such server or it fails to start, BadRequest for a tool that cannot be
    used (its name, its schema, two of one name) or a name in `allow` that the server has not.
    """
    if isinstance(allow, str):
        raise BadRequest(f"allow={allow!r}: give a list of names.")
    if not isinstance(timeout_s, (int, float)) or not 0 < timeout_s <= LONGEST_S:
        raise BadRequest(f"timeout_s={timeout_s!r}: give seconds, above 0 and up to {LONGEST_S}.")
    connection = Connection(source, timeout_s)
    try:
        chosen = _chosen(connection, allow)
        return McpTools([_tool(connection, listed, prefix, confirm) for listed in chosen], connection)
    except BaseException:
        connection.close()
        raise


def always(name: str, arguments: dict[str, Any]) -> bool:
    """For mcp_tools(confirm=always): let every call run unasked."""
    return True


def _chosen(connection: Connection, allow: Sequence[str] | None) -> list[types.Tool]:
    names = [tool.name for tool in connection.tools]
    if missing := [name for name in allow or () if name not in names]:
        raise BadRequest(f"{connection.label} has no tool {missing[0]!r}. It has: {', '.join(names[:MANY])}.")
    if allow is None and len(names) > MANY:
        warnings.warn(f"{connection.label} offers {len(names)} tools, and a model reads all of them for every answer. "
                      "Name those you need: mcp_tools(…, allow=[…]).", stacklevel=3)
    chosen = [tool for tool in connection.tools if allow is None or tool.name in allow]
    if twice := [tool.name for i, tool in enumerate(chosen) if tool.name in {other.name for other in chosen[:i]}]:
        raise BadRequest(f"{connection.label} lists two tools called {twice[0]!r}; which one a call means is not "
                         "defined. Leave them out: mcp_tools(…, allow=[…]).")
    return chosen


def _tool(connection: Connection, listed: types.Tool, prefix: str, confirm: Confirm | None) -> McpTool:
    try:
        made = from_openai({"name": prefix + listed.name, "description": listed.description,
                            "parameters": listed.input_schema})
    except BadRequest as error:
        words = str(error).rstrip(".")
        raise BadRequest(f"{connection.label}: {words}. Leave the tool out: mcp_tools(…, allow=[…]).") from error
    reads_only = bool(listed.annotations and listed.annotations.read_only_hint)

    def function(**arguments: Any) -> Any:
        if not reads_only:
            _permit(made.name, arguments, confirm)
        return _value(connection.call(listed.name, arguments), listed)

    return McpTool(made.name, made.description, made.parameters, function, connection.timeout_s)


def _permit(name: str, arguments: dict[str, Any], confirm: Confirm | None) -> None:
    """Raises ToolError unless the call may run."""
    if confirm is None:
        raise ToolError(f"{name}: not run, since its server does not mark it as read-only and nobody was asked. "
                        "Pass mcp_tools(…, confirm=…), a function of (name, arguments) that returns True or False.")
    if confirm(name, dict(arguments)) is not True:  # "no" would count as true
        raise ToolError(f"{name}: not run, it was not confirmed.")


def _value(result: types.CallToolResult, listed: types.Tool) -> Any:
    """What a tool returned: a value where there is one, else its texts. Raises ToolError with a failed tool's words."""
    if result.is_error:
        raise ToolError("\n".join(map(_words, result.content))[:MAX_RESULT] or f"{listed.name} failed without a word.")
    value = result.structured_content
    if value is None:
        return "\n".join(map(_words, result.content))
    if list((listed.output_schema or {}).get("properties", ())) == ["result"]:  # how MCPServer sends a plain value
        return value["result"]
    return value


def _words(content: types.ContentBlock) -> str:
    """A part of a result as text; of what is no text, what it is."""
    match content:
        case types.TextContent():
            return content.text
        case types.EmbeddedResource(resource=types.TextResourceContents()):
            return content.resource.text
        case types.ImageContent() | types.AudioContent():
            return f"[{content.mime_type}, {len(content.data) * 3 // 4} bytes, which a text model cannot read]"
        case types.ResourceLink():
            return f"[a link: {content.uri}]"
        case _:
            return f"[{content.type}, which is no text]"
