"""Lesson 11, Agent Framework: a log without secrets, time without children, a shorter conversation."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("11.1", title="A log without secrets",
          hint="A dict comprehension over arguments.items(). For a value that is a dict, call clean() again.")
def check_clean(answer):
    expect(answer({"order_id": "A-1", "token": "x7"}, {"token"}), {"order_id": "A-1", "token": "***"}, "one secret")
    expect(answer({"user": {"name": "Ada", "password": "p"}}, {"password"}),
           {"user": {"name": "Ada", "password": "***"}}, "a secret in a dict inside")
    expect(answer({"user": {"name": "Ada"}}, {"user"}), {"user": "***"}, "a whole dict that is secret")
    given = {"token": "x7"}
    answer(given, {"token"})
    expect(given, {"token": "x7"}, "the arguments themselves stay as they are: the tool needs them")


@exercise("11.2", title="Time without the children",
          hint="First the whole time of each span. Then take each span's time off its parent's.")
def check_own_time(answer):
    spans = [("run", None, 0, 100), ("chat 1", "run", 5, 45), ("tool", "run", 46, 50), ("chat 2", "run", 50, 95)]
    expect(answer(spans), {"run": 11, "chat 1": 40, "tool": 4, "chat 2": 45}, "a run with two answers and a tool")
    expect(answer([("a", None, 0, 10), ("b", "a", 0, 10), ("c", "b", 2, 5)]), {"a": 0, "b": 7, "c": 3},
           "three spans inside each other")
    expect(answer([("alone", None, 3, 4)]), {"alone": 1}, "a span without children")


@exercise("11.3", title="A shorter conversation",
          hint="Take the system message off first. Mind that list[-0:] is the whole list.")
def check_shorten(answer):
    def talk(*roles):
        return [{"role": role, "content": str(n)} for n, role in enumerate(roles)]

    def numbers(roles, most):
        return [int(message["content"]) for message in answer(talk(*roles), most)]
    expect(numbers(["system", "user", "assistant", "user"], 2), [0, 2, 3], "the system message and the last two")
    expect(numbers(["user", "assistant", "user"], 2), [1, 2], "no system message")
    expect(numbers(["system", "user", "assistant", "tool", "assistant"], 2), [0, 4],
           "a result whose call is gone goes, too")
    expect(numbers(["system", "user"], 0), [0], "none but the system message")
    expect(numbers(["user"], 5), [0], "shorter than allowed")
