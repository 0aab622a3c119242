"""Is this answer still the untouched stub? Looks at the object alone, so it needs no source."""
from __future__ import annotations

import dis
import types

# What a body of `...`, `pass` or a docstring compiles to, over the Python versions we run on.
_NOTHING = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "POP_TOP",
            "COPY_FREE_VARS", "RETURN_GENERATOR", "CALL_INTRINSIC_1", "RERAISE"}


def is_stub(answer: object) -> bool:
    """True for None, `...`, a container holding `...`, and functions or classes with nothing in them yet."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, (list, tuple, set)):
        return any(item is ... for item in answer)
    if isinstance(answer, dict):
        return any(item is ... for item in answer.values())
    if isinstance(answer, type):
        return any(_empty(member) for member in vars(answer).values())
    return _empty(answer)


def _empty(thing: object) -> bool:
    if isinstance(thing, (staticmethod, classmethod, property)):
        thing = getattr(thing, "__func__", None) or getattr(thing, "fget", None)
    function = _function(thing)
    if function is None:
        return False
    code = list(dis.get_instructions(function))
    loads = [i.argval for i in code if i.opname in ("RETURN_CONST", "LOAD_CONST")]
    return {i.opname for i in code} <= _NOTHING and bool(loads) and loads[-1] in (None, ...)


def _function(thing: object) -> types.FunctionType | None:
    """The plain function in a method, a decorated function or a tool made of one."""
    for _ in range(5):  # a decorator on a decorator; never an endless chain
        if isinstance(thing, types.FunctionType) and not hasattr(thing, "__wrapped__"):
            return thing
        inner = [getattr(thing, n, None) for n in ("__wrapped__", "__func__", "function", "func", "fn")]
        thing = next((i for i in inner if callable(i)), None)
        if thing is None:
            return None
    return None
