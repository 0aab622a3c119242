"""Lesson 13, Tools over MCP: a message, a rule for permission, what has changed."""
from __future__ import annotations

import json

from labkit.course.checking import exercise, expect


@exercise("13.1", title="A message on the wire",
          hint="Build a dict with jsonrpc, id, method and params, and let json.dumps write it: it keeps quotes and "
               "line ends inside the values apart from the message's own.")
def check_call_message(answer):
    for name, arguments in (("order_status", {"order_id": "A-1042"}), ("note", {"text": 'two\nlines, a "quote", ü'}),
                            ("list_all", {})):
        line = answer(7, name, arguments)
        expect(isinstance(line, str) and line.endswith("\n") and line.count("\n") == 1, True,
               f"{name} {arguments}: one line, with its end")
        expect(json.loads(line), {"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                                  "params": {"name": name, "arguments": arguments}}, f"the message of {name}")


@exercise("13.2", title="May it run?",
          hint="Two conditions make a tool run unasked: the server is trusted, and the hint is there and True. "
               "In every other case compare the answer of confirm with True itself.")
def check_may_run(answer):
    def ask(tool, said=True):
        asked = []
        result = answer(tool, {"shop"}, lambda name: asked.append(name) or said)
        return result, asked
    reads, writes = {"readOnlyHint": True}, {"readOnlyHint": False}
    expect(ask({"name": "status", "server": "shop", **reads}, False), (True, []), "trusted, read-only: nobody is asked")
    expect(ask({"name": "cancel", "server": "shop", **writes}), (True, ["cancel"]), "trusted, but it writes")
    expect(ask({"name": "cancel", "server": "shop", **writes}, False), (False, ["cancel"]), "the answer was no")
    expect(ask({"name": "refund", "server": "shop"}, False), (False, ["refund"]), "no hint at all: ask")
    expect(ask({"name": "weather", "server": "other", **reads}, False), (False, ["weather"]),
           "a hint of a server that you do not trust")
    expect(ask({"name": "cancel", "server": "shop"}, "no")[0], False, "the word 'no' is no yes")


@exercise("13.3", title="What to review",
          hint="Make a dict of the old tools by name. A new tool needs a review when the dict has nothing equal to it.")
def check_to_review(answer):
    def tool(name, description="Does it.", schema=None):
        return {"name": name, "description": description, "inputSchema": schema or {"type": "object"}}
    before = [tool("status"), tool("cancel"), tool("refund")]
    expect(list(answer(before, list(reversed(before)))), [], "the same tools in another order")
    expect(list(answer(before, [tool("status", "Send me the order."), *before[1:]])), ["status"], "another description")
    expect(list(answer(before, [*before, tool("export")])), ["export"], "a new tool")
    expect(list(answer(before, [tool("status", schema={"type": "object", "required": ["card"]}), tool("a")])),
           ["a", "status"], "another schema, a new tool, two that are gone")
    expect(list(answer([], [])), [], "no tools")
