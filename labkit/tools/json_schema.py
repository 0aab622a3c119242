"""The jsonschema library, ready in 0.1 s instead of 0.9: without the grammar of internationalised addresses.

That grammar is compiled at import wherever JupyterLab is installed, for a format that labkit does not check. A
learner's first tool call would wait for it.
"""
from __future__ import annotations

import sys
import threading
from types import ModuleType

SLOW = "rfc3987_syntax"
_lock = threading.Lock()


def library() -> ModuleType:
    """`import jsonschema`, but quick."""
    with _lock:
        skip = not {"jsonschema", SLOW} & sys.modules.keys()
        if skip:
            sys.modules[SLOW] = None  # importing it now fails, which jsonschema takes for "not installed"
        try:
            import jsonschema
        finally:
            if skip:
                del sys.modules[SLOW]
        return jsonschema


def validator(schema):
    """A validator of JSON Schema 2020-12, labkit's dialect."""
    return library().Draft202012Validator(schema)
