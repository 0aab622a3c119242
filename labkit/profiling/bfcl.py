"""Tool calls on the Berkeley Function Calling Leaderboard's cases, through the public API.

Data and checker are those of the wheel `bfcl-eval` (Apache-2.0). It is a test set: never train on it,
never choose a wording by it (data/tool_requests has a dev split for that).

simple_python: one tool, one call. multiple: two to four tools, one call. Both run as tool_choice
"required" (a call must come) and as "auto" (the model may answer in words, which is wrong here).
parallel, parallel_multiple: several calls for one request. irrelevance: no tool fits; right is not to call.
"""
from __future__ import annotations

import json
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from itertools import product
from pathlib import Path
from typing import Any

from labkit.errors import BackendUnavailable, BadRequest, IncompleteOutput
from labkit.intervals import share_interval
from labkit.table import Shown, Table

WHEEL = "bfcl-eval"
RUNS = (("simple_python", "required"), ("multiple", "required"),
        ("parallel", "required"), ("parallel_multiple", "required"),
        ("simple_python", "auto"), ("multiple", "auto"), ("irrelevance", "auto"))
SAMPLE = 100      # cases a category by default, spread evenly over all of them
MAX_TOKENS = 240  # for four calls
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Result:
    """One category in one mode, by one of the models compared."""

    variant: str
    category: str
    mode: str
    right: int
    cases: int
    median_s: float

    @property
    def share(self) -> float:
        return self.right / self.cases

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        _, low, high = share_interval(self.right, self.cases)
        return low, high


@dataclass(frozen=True)
class Report(Shown):
    """What `run` found."""

    model: str
    results: tuple[Result, ...]

    def table(self) -> Table:
        variants = list(dict.fromkeys(r.variant for r in self.results))
        of = {(r.variant, r.category, r.mode): r for r in self.results}
        columns = [name for variant in variants for name in (variant, "median call")]
        rows = [(f"{category}, {mode}", *(part for variant in variants for part in _shown(of[variant, category, mode])))
                for category, mode in RUNS]
        return Table(("BFCL category, tool_choice", *columns), tuple(rows), title=f"Tool calls: {self.model}",
                     note=f"Right of {self.results[0].cases} cases each, and the 95 % interval; official checker.")

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "results": [{**asdict(r), "share": r.share} for r in self.results]}


def _shown(result: Result) -> tuple[str, str]:
    low, high = result.interval
    return f"{result.share:.1%} ({100 * low:.0f} to {100 * high:.0f})", f"{result.median_s:.2f} s"


def run(chats: Mapping[str, Any] | None = None, *, adapter: str | Path | None = None, cases: int | None = SAMPLE,
        progress: Progress | None = None) -> Report:
    """Ask every case and check the calls.

    chats: the connected models to compare, by what to call them; None for the embedded one as it is and, where
        one is given, with an adapter. cases: per category; None for all.
    Raises BackendUnavailable when the wheel with the cases is not installed.
    """
    from labkit import connect
    chats = chats or {"untrained": connect(), **({"with the adapter": connect(adapter=adapter)} if adapter else {})}
    sets = {category: load(category, cases) for category in {c for c, _ in RUNS}}
    total, done, results = len(chats) * sum(len(sets[c]) for c, _ in RUNS), 0, []
    for variant, (category, mode) in product(chats, RUNS):
        outcomes = []
        for case in sets[category]:
            outcomes.append(_ask(chats[variant], category, mode, case))
            done += 1
            if progress:
                progress(done, total, f"{variant}: {category}, {mode}")
        right, seconds = zip(*outcomes, strict=True)
        results.append(Result(variant, category, mode, sum(right), len(right), statistics.median(seconds)))
    return Report(next(iter(chats.values())).model, tuple(results))


def load(category: str, cases: int | None = None) -> list[dict[str, Any]]:
    """The cases of a category with their accepted answers, evenly thinned to at most `cases`."""
    folder = _folder() / "data"
    items = list(_lines(folder / f"BFCL_v4_{category}.json"))
    answers_file = folder / "possible_answer" / f"BFCL_v4_{category}.json"
    answers = {a["id"]: a["ground_truth"] for a in _lines(answers_file)} if answers_file.is_file() else {}
    step = max(1, len(items) // cases) if cases else 1
    return [{**item, "answer": answers.get(item["id"], [])} for item in items[::step][:cases]]


def _ask(chat, category: str, mode: str, case: dict[str, Any]) -> tuple[bool, float]:
    tools = [openai_tool(function) for function in case["function"]]
    started = time.perf_counter()
    try:
        reply = chat.chat(case["question"][0], tools=tools, tool_choice=mode, max_tokens=MAX_TOKENS,
                          parallel_tool_calls=category.startswith("parallel"))
        calls = [{call.name: call.arguments} for call in reply.tool_calls]
    except (BadRequest, IncompleteOutput):
        calls = [{"": {}}]  # an answer, but no valid one
    seconds = time.perf_counter() - started
    if category == "irrelevance":
        return not calls, seconds
    checked = _checker()(case["function"], calls, case["answer"], _python(), category, "labkit")
    return bool(checked["valid"]), seconds


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
