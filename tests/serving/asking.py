"""What the tests of the service ask for."""
from __future__ import annotations

import json

MODEL = "SmolLM2-135M-Instruct-F16"
ORDER = [{"role": "user", "content": "Where is my order A-1042?"}]
PARIS = [{"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Tell me a story about a dragon."}]


def function(name: str, description: str, **parameters: str) -> dict:
    """An OpenAI tool whose parameters are all strings."""
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    return {"type": "function", "function": {
        "name": name, "description": description,
        "parameters": {"type": "object", "required": list(parameters), "properties": properties}}}


TOOLS = [function("order_status", "Status of an order.", order_id="like A-1042"),
         function("weather", "The weather in a city.", city="the city's name")]
CITY = {"type": "object", "required": ["capital", "population"], "additionalProperties": False,
        "properties": {"capital": {"enum": ["Rome", "Paris"]},
                       "population": {"type": "integer", "minimum": 1, "maximum": 99}}}


def run_tool(name: str, arguments: dict) -> str:
    """What a client's own program does with a call."""
    assert (name, arguments) == ("order_status", {"order_id": "A-1042"})
    return json.dumps({"order_id": "A-1042", "status": "shipped"})
