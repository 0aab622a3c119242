"""Lesson 06, Ollama: speed from durations, a stream that may fail, a turn of tool calls."""
from __future__ import annotations

import json
import math

from labkit.course.checking import CheckFailed, exercise, expect


@exercise("06.1", title="Tokens per second",
          hint="Durations are nanoseconds: divide by 1e9 to get seconds. Mind the answer that took no time.")
def check_speed(answer):
    expect(answer({"eval_count": 50, "eval_duration": 500_000_000}), 100.0, "50 tokens in half a second")
    expect(answer({"eval_count": 3, "eval_duration": 2_000_000_000, "load_duration": 9_000_000_000}), 1.5,
           "3 tokens in two seconds; loading took nine more, and does not count")
    nothing = answer({"eval_count": 1, "eval_duration": 0})
    if not (isinstance(nothing, float) and math.isnan(nothing)):
        raise CheckFailed(f"One token and no duration: there is no speed, so float('nan'). You gave {nothing!r}.")


@exercise("06.2", title="A stream that may fail",
          hint="json.loads each line. Look for \"error\" first; return at \"done\"; after the loop, nobody said done.")
def check_read_stream(answer):
    def lines(*parts):
        return [json.dumps(part) for part in parts]
    words = [{"message": {"content": text}, "done": False} for text in ("Par", "is", ".")]
    end = {"message": {"content": ""}, "done": True, "done_reason": "stop"}
    expect(answer(lines(*words, end)), "Paris.", "three pieces and an end")
    expect(answer(lines({"message": {"content": "Oui"}, "done": True})), "Oui", "text in the last line")
    for name, given in (("an error in the middle", lines(words[0], {"error": "out of memory"})),
                        ("no end", lines(*words)), ("nothing at all", [])):
        try:
            got = answer(given)
        except RuntimeError as error:
            if name == "an error in the middle" and "out of memory" not in str(error):
                raise CheckFailed("The RuntimeError should carry what the server said: out of memory.") from None
            continue
        raise CheckFailed(f"With {name} the answer is not whole, so raise RuntimeError. You gave {got!r}.")


@exercise("06.3", title="A turn of tool calls",
          hint="Look the function up by name in tools; ** turns a dict into arguments. An unknown name gets an "
               "answer too.")
def check_run_calls(answer):
    tools = {"add": lambda a, b: a + b, "shout": lambda text: text.upper()}

    def call(name, **arguments):
        return {"function": {"name": name, "arguments": arguments}}
    message = {"role": "assistant", "content": "", "tool_calls": [call("add", a=2, b=3), call("shout", text="hi")]}
    expect(answer(message, tools), [{"role": "tool", "tool_name": "add", "content": "5"},
                                    {"role": "tool", "tool_name": "shout", "content": '"HI"'}],
           "two calls: two messages, their content as JSON")
    expect(answer({"role": "assistant", "content": "Hello"}, tools), [], "no calls")
    [unknown] = answer({"tool_calls": [call("fly")]}, tools)
    expect(unknown["tool_name"], "fly", "a tool that is not there still gets its message")
    if not unknown["content"].startswith("Error: "):
        raise CheckFailed('A tool that is not there: content should begin with "Error: ", for the model to read.')
