"""An MCP server without any SDK, so that it can do what no honest server does: python by_hand.py [LISTING]"""
from __future__ import annotations

import json
import os
import sys
import time

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
READS = {"readOnlyHint": True}


def listed(name: str, schema: dict = TEXT, **more) -> dict:
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, "annotations": READS, **more}


def with_property(schema: dict) -> dict:
    return {"type": "object", "properties": {"text": schema}}


NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
LISTINGS = {
    "all": [listed(name) for name in ("echo", "die", "hang", "picture", "megabyte", "loud", "silent", "pid", "nothing",
                                      "unknown", "long_error")]
           + [listed("liar", outputSchema=NUMBER), listed("writes", annotations={"destructiveHint": True}),
              listed("unmarked", annotations=None)],
    "twice": [listed("echo"), listed("echo"), listed("pid")],
    "bad_name": [listed("echo"), listed("two words")],
    "bad_schema": [listed("echo"), listed("odd", with_property({"type": "strnig"}))],
    "no_object": [listed("echo"), listed("odd", {"type": "array"})],
    "outside": [listed("echo"), listed("odd", with_property({"$ref": "http://127.0.0.1:9/schema"}))],
    "nowhere": [listed("echo"), listed("odd", with_property({"$ref": "#/$defs/missing"}))],
    "endless": [listed("echo", {"type": "object", "$ref": "#"})],
    "pages": [listed("echo")],
    "no_schema": [{"name": "odd"}],
    "none": [],
}
LISTING = sys.argv[1] if len(sys.argv) > 1 else "all"


def text(words: str, **more) -> dict:
    return {"content": [{"type": "text", "text": words}], **more}


def call(name: str, given: str) -> dict:
    if name == "die":
        print("the disk is full", file=sys.stderr)
        sys.exit(3)
    if name == "hang":
        time.sleep(float(given))
    if name == "loud":
        print("this line is no JSON", flush=True)
    return {
        "picture": lambda: {"content": [{"type": "image", "data": "QUJDRA==", "mimeType": "image/png"},
                                        {"type": "resource_link", "uri": "file:///a", "name": "a"}]},
        "megabyte": lambda: text("x" * 1_000_000), "silent": lambda: {"content": []},
        "nothing": lambda: {"contents": "none"}, "pid": lambda: text(str(os.getpid())),
        "liar": lambda: text("fine", structuredContent={"n": "seven"}),
        "long_error": lambda: text("no! " * 100_000, isError=True),
    }.get(name, lambda: text(given))()


def answer(method: str, params: dict) -> dict:
    if method == "initialize":
        return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "by hand", "version": "0"}}}
    if method == "tools/list":
        more = {"nextCursor": "again"} if LISTING == "pages" else {}
        return {"result": {"tools": LISTINGS[LISTING], **more}}
    if method == "tools/call" and params["name"] != "unknown":
        return {"result": call(params["name"], params.get("arguments", {}).get("text", ""))}
    return {"error": {"code": -32601, "message": f"{method} is not for me"}}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"],
                          **answer(message["method"], message.get("params", {}))}), flush=True)
