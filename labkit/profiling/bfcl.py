"""The cases of the Berkeley Function Calling Leaderboard, and its official checker.

Both are those of the wheel `bfcl-eval` (Apache-2.0). It is a test set: never train on it, never choose a
wording by it (data/tool_requests and data/toolcalls have dev splits for that).

simple_python: one tool, one call. multiple: two to four tools, one call. parallel, parallel_multiple: several
calls for one request. irrelevance: no tool fits; right is not to call.
"""
from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from labkit.errors import BackendUnavailable
from labkit.intervals import thinned
from labkit.profiling.tool_case import Case

WHEEL = "bfcl-eval"
CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}


def load(category: str, cases: int | None = None) -> list[Case]:
    """The cases of a category, evenly thinned to at most `cases`.

    Raises BackendUnavailable when the wheel with the cases is not installed.
    """
    return [Case(tuple(item["question"][0]), tuple(openai_tool(f) for f in item["function"]),
                 category.startswith("parallel"), partial(_right, category, item))
            for item in thinned(items(category), cases)]


def items(category: str) -> list[dict[str, Any]]:
    """The cases of a category as the wheel has them, each with its accepted answers."""
    folder = _folder() / "data"
    answers_file = folder / "possible_answer" / f"BFCL_v4_{category}.json"
    answers = {a["id"]: a["ground_truth"] for a in _lines(answers_file)} if answers_file.is_file() else {}
    return [{**item, "answer": answers.get(item["id"], [])} for item in _lines(folder / f"BFCL_v4_{category}.json")]


def _right(category: str, item: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> bool:
    if category == "irrelevance":
        return not calls
    made = [{call["name"]: call["arguments"]} for call in calls]
    checked = _checker()(item["function"], made, item["answer"], _python(), category, "labkit")
    return bool(checked["valid"])


def openai_tool(function: dict[str, Any]) -> dict[str, Any]:
    """A BFCL function as an OpenAI tool: its types by JSON schema's names."""
    return {"type": "function", "function": {**function, "parameters": _schema(function["parameters"])}}


def _schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    new = {key: _schema(item) for key, item in value.items() if key != "optional"}
    if isinstance(new.get("type"), str):
        new["type"] = _TYPES.get(new["type"], new["type"])
    return new


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _folder() -> Path:
    try:
        return Path(str(distribution(WHEEL).locate_file("bfcl_eval")))
    except PackageNotFoundError:
        raise BackendUnavailable(
            f"The cases are in the wheel {WHEEL}. Run: pip install --no-deps {WHEEL}==2026.3.23") from None


def _checker():
    """The official AST checker. Its table of models would import every provider's client: stand in for it."""
    name = "bfcl_eval.constants.model_config"
    if name not in sys.modules:
        class Models(dict):
            def __missing__(self, _):
                return types.SimpleNamespace(underscore_to_dot=False)
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].MODEL_CONFIG_MAPPING = Models()
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    return ast_checker


def _python():
    from bfcl_eval.constants.enums import Language
    return Language.PYTHON
