"""What a report is made of: one of the course's desks, or an own agent from a recipe or a Python file.

Each scenario begins anew: a desk with a fresh database, an own agent with its Python file run once more.
"""
from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from labkit import yaml_file
from labkit.agents import recipe
from labkit.agents.run import Run
from labkit.backends.registry import connect
from labkit.errors import BadRequest, LabkitError
from labkit.intervals import thinned
from labkit.report import scenarios
from labkit.report.scenarios import Scenario, Verdict, tools_right
from labkit.tools.tool import Tool

WRONG = "AGENT is a desk's name ({desks}), a recipe (.yaml) or a Python file (.py) with a function agent(slm)."


@dataclass(frozen=True)
class Try:
    """An agent before one scenario. judge: what to think of its run. right: whether it made the right calls."""

    agent: Any
    judge: Callable[[Run], Verdict]
    right: Callable[[Run], bool]


@dataclass(frozen=True)
class Subject:
    """name: for files. begin(scenario, slm): a context manager that gives a Try.

    slm: the model that it runs on. desk: the name, for what only the course's desks have.
    """

    name: str
    title: str
    slm: Any
    tools: Sequence[Tool]
    scenarios: Sequence[Any]
    begin: Callable[[Any, Any], Any] = field(repr=False)
    desk: str | None = None

    def thinned(self, count: int | None) -> list[Any]:
        """At most `count` scenarios, spread evenly over all of them."""
        return thinned(self.scenarios, count)


def subject(name: str | Path, slm: Any = None) -> Subject:
    """A desk by its name, or an agent in a file with `NAME.jsonl`, its scenarios, beside it.

    slm: a connected model, instead of the recipe's or the embedded one. Raises BadRequest.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return _of_recipe(path, slm)
    if path.suffix == ".py":
        return _of_python(path, slm)
    from labkit import domains
    if str(name) not in domains.NAMES:
        raise BadRequest(WRONG.format(desks=", ".join(domains.NAMES)))
    return _of_desk(str(name), slm or connect())


def kind_of(scenario: Any) -> str:
    """What it is counted under: its own word (of a desk's, what that stands for), or whether a call is right."""
    from labkit.domains.scenario import KINDS
    return KINDS.get(scenario.kind, scenario.kind) or ("a call" if scenario.calls else "no call")


# -- a desk --------------------------------------------------------------------------------

def _of_desk(name: str, slm: Any) -> Subject:
    from labkit import domains
    with domains.open_desk(name) as desk:
        title, tools = desk.title, desk.tools
    return Subject(name, title, slm, tools, domains.scenarios(name, "test"), partial(_desk_try, name), name)


@contextmanager
def _desk_try(name: str, scenario: Any, slm: Any) -> Iterator[Try]:
    from labkit import domains
    with domains.open_desk(name) as desk:
        before = desk.database.snapshot()
        yield Try(desk.agent(slm), lambda run: domains.judge(desk, before, run, scenario),
                  lambda run: tools_right(scenario.calls, run.calls, desk.tools))


# -- an own agent --------------------------------------------------------------------------

def own(title: str, make: Callable[[Any], Any], lines: str, *, slm: Any = None,
        checks: Mapping[str, Callable] | None = None) -> Subject:
    """An agent of your own. make: gives a fresh one, with fresh data, for a model. lines: its scenarios, as in a file.

    checks: the functions that scenarios name. slm: None for the embedded model. Raises BadRequest with line and field.
    """
    return _own(title, slm or connect(), lambda slm: (_made(make, slm), checks or {}), lines, "scenarios")


def _own(title: str, slm: Any, fresh: Callable[[Any], tuple[Any, Mapping]], lines: str, name: str) -> Subject:
    """fresh: for a model, the agent and the functions for checks."""
    agent, checks = fresh(slm)
    found = scenarios.parse(lines, agent.tools, checks, name)
    return Subject(title.lower().replace(" ", "_"), title, slm, agent.tools, found, partial(_own_try, fresh))


@contextmanager
def _own_try(fresh: Callable[[Any], tuple[Any, Mapping]], scenario: Scenario, slm: Any) -> Iterator[Try]:
    agent, checks = fresh(slm)
    yield Try(agent, lambda run: scenarios.judge(scenario, run, agent, checks),
              lambda run: tools_right(scenario.wanted, run.calls, agent.tools))


def _of_recipe(path: Path, slm: Any) -> Subject:
    wanted = yaml_file.read(path, recipe.Recipe)
    code = path.parent / wanted.code if wanted.code else None
    one_model = wanted.model_copy(update={"policy": recipe.Policy()})  # it is given one, which may be a router

    def fresh(model: Any) -> tuple[Any, Mapping]:
        names = _names(code)
        return recipe.build(one_model, names, model), names
    return _own(wanted.name, slm or recipe.load(path).slm, fresh, scenarios.read(_beside(path)), _beside(path).name)


def _of_python(path: Path, slm: Any) -> Subject:
    if not callable(_names(path).get("agent")):
        raise BadRequest(f"{path.name} has no function agent(slm) that returns an agent.")

    def fresh(model: Any) -> tuple[Any, Mapping]:
        names = _names(path)
        return _made(names["agent"], model), names
    return _own(path.stem, slm or connect(), fresh, scenarios.read(_beside(path)), _beside(path).name)


def _made(make: Callable[[Any], Any], slm: Any) -> Any:
    """The agent that somebody's function gives."""
    try:
        agent = make(slm)
    except LabkitError:
        raise
    except Exception as error:  # whatever it raises
        raise BadRequest(f"{make.__name__}(slm) fails: {type(error).__name__}: {error}") from error
    if not callable(getattr(agent, "run", None)) or not hasattr(agent, "tools"):
        raise BadRequest(f"{make.__name__}(slm) must return an agent, with run(task) and tools, as labkit.Agent has "
                         f"them. It returned {agent!r}.")
    return agent


def _beside(path: Path) -> Path:
    return path.with_suffix(".jsonl")


def _names(code: Path | None) -> dict[str, Any]:
    """What a Python file defines; nothing where there is none."""
    if code is None:
        return {}
    try:
        return runpy.run_path(str(code), run_name="labkit_report")
    except OSError as error:
        raise BadRequest(f"{code.name} cannot be read: {error}") from error
    except Exception as error:  # whatever a stranger's file raises
        raise BadRequest(f"{code.name} fails: {type(error).__name__}: {error}") from error
