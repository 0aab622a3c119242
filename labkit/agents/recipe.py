"""An agent as data: what it is made of, in a YAML file that runs without a notebook. `labkit agent FILE "request"`

A recipe names its tools; their code is in a Python file beside it. `write` makes both from an agent that was put
together by hand, and the Python file also runs alone.
"""
from __future__ import annotations

import builtins
import inspect
import runpy
import symtable
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from labkit import yaml_file
from labkit.agents import policies
from labkit.agents.agent import Agent
from labkit.agents.routing import Router, Tier
from labkit.backends.registry import connect
from labkit.errors import BadRequest
from labkit.tools.tool import Tool, as_tools


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Model(_Part):
    """backend, model, settings: as in labkit.connect()."""

    backend: str = "llama.cpp"
    model: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Policy(_Part):
    """Whom to ask. "confidence" asks the large model where the small one is less sure than `at_least`."""

    kind: Literal["small", "large", "confidence"] = "small"
    at_least: float = Field(0.8, ge=0, le=1)
    large: Model | None = None


class Limits(_Part):
    max_steps: int = Field(6, ge=1, le=100)
    max_tokens: int = Field(256, ge=1)
    retries: int = Field(1, ge=0)


class Recipe(_Part):
    """An agent. tools: names of functions in `code`, a Python file beside the recipe."""

    name: str = Field("agent", pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,40}$")
    instructions: str = ""
    small: Model = Field(default_factory=Model)
    policy: Policy = Field(default_factory=Policy)
    code: str | None = Field(None, pattern=r"^[\w-]+\.py$")
    tools: list[str] = Field(default_factory=list)
    limits: Limits = Field(default_factory=Limits)

    @property
    def file_name(self) -> str:
        """Fit for files: "order desk" becomes order_desk."""
        return self.name.lower().replace(" ", "_").replace("-", "_")


def load(path: str | Path) -> Agent:
    """The agent of a recipe. Runs the Python file that it names.

    Raises BadRequest with line and field for a recipe that is wrong, BackendUnavailable for a runtime that is not here.
    """
    path = Path(path)
    recipe = yaml_file.read(path, Recipe)
    return build(recipe, _functions(path.parent / recipe.code) if recipe.code else {})


def build(recipe: Recipe, functions: Mapping[str, Any], slm: Any = None) -> Agent:
    """The agent, with its tools taken from `functions`. slm: a connected small model; None connects one."""
    missing = [name for name in recipe.tools if name not in functions]
    if missing:
        there = ", ".join(sorted(functions)) or "none"
        raise BadRequest(f"tools: there is no function {missing[0]!r} in {recipe.code}. There: {there}.")
    limits = recipe.limits
    return Agent(_model(recipe, slm), tools=[functions[name] for name in recipe.tools],
                 instructions=recipe.instructions, max_steps=limits.max_steps, retries=limits.retries,
                 max_tokens=limits.max_tokens)


def _model(recipe: Recipe, slm: Any) -> Any:
    small = slm or _connected(recipe.small)
    if recipe.policy.kind == "small":
        return small
    if recipe.policy.large is None:
        raise BadRequest(f"policy.large: the policy {recipe.policy.kind!r} needs a large model.")
    policy = (policies.always(policies.LARGE) if recipe.policy.kind == "large"
              else policies.confidence(recipe.policy.at_least))
    return Router(small, Tier(_connected(recipe.policy.large), remote=True), policy)


def _connected(model: Model) -> Any:
    return connect(model.backend, model.model, **model.settings)


def _functions(file: Path) -> dict[str, Any]:
    """What could be a tool in a Python file."""
    try:
        found = runpy.run_path(str(file), run_name="labkit_recipe")
    except OSError as error:
        raise BadRequest(f"code: {file.name} cannot be read: {error}") from error
    except Exception as error:  # whatever a stranger's file raises
        raise BadRequest(f"code: {file.name} fails: {type(error).__name__}: {error}") from error
    return {name: value for name, value in found.items()
            if isinstance(value, Tool) or (inspect.isfunction(value) and value.__module__ == "labkit_recipe")}


# -- writing -------------------------------------------------------------------------------

HEAD = '''"""{name}: an agent, put together with labkit. Run it: python {file}.py "your request"

Its recipe is in {file}.yaml: model, instructions, policy, limits.
"""
from typing import Annotated, Any, Literal
'''
KNOWN = ("Annotated", "Any", "Literal")  # what a tool's type hints may use
FOOT = '''

if __name__ == "__main__":
    import sys
    from pathlib import Path

    from labkit.agents import recipe
    print(recipe.load(Path(__file__).with_suffix(".yaml")).run(sys.argv[1]))
'''


def write(recipe: Recipe, tools: Sequence[Any], folder: str | Path) -> tuple[Path, Path]:
    """Write the recipe and its tools' code; (YAML, Python). Existing files of these names are replaced.

    A tool's code is copied as it stands. What it uses from around it, other than modules that it imports itself,
    would be missing: such a tool is refused. Raises BadRequest.
    """
    chosen = {tool.name: tool for tool in as_tools(tools) if tool.name in recipe.tools}
    sources = [source(tool) for tool in chosen.values()]
    recipe = recipe.model_copy(update={"code": f"{recipe.file_name}.py"})
    text = "\n\n".join([HEAD.format(name=recipe.name, file=recipe.file_name), *sources]) + FOOT
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, content in ((".yaml", yaml_file.dump(recipe)), (".py", text)):
        written.append(folder / f"{recipe.file_name}{suffix}")
        written[-1].write_text(content, encoding="utf-8", newline="\n")
    return written[0], written[1]


def source(tool: Tool) -> str:
    """A tool's function as code that stands alone."""
    function = inspect.unwrap(tool.function) if tool.function else None
    try:
        code = textwrap.dedent(inspect.getsource(function))
    except (TypeError, OSError) as error:
        raise BadRequest(f"The code of the tool {tool.name!r} cannot be found: {error}") from error
    if function.__name__ != tool.name:
        raise BadRequest(f"The tool {tool.name!r} is the function {function.__name__!r}: give them one name.")
    code = "\n".join(_without_decorators(code.splitlines()))
    if needs := sorted(_outside(code) - {function.__name__, *KNOWN}):
        raise BadRequest(f"The tool {tool.name!r} uses {needs[0]!r} from around it. Import or define it inside the "
                         "function, so that its code stands alone.")
    return code


def _without_decorators(lines: Sequence[str]) -> Sequence[str]:
    return lines[next(i for i, line in enumerate(lines) if line.startswith(("def ", "async def "))):]


def _outside(code: str) -> set[str]:
    """Names that a piece of code uses and does not define: in its body, its defaults and its type hints."""
    def names(table: symtable.SymbolTable) -> set[str]:
        own = {s.get_name() for s in table.get_symbols() if s.is_global() or table.get_type() == "module"}
        return own.union(*map(names, table.get_children()))
    return names(symtable.symtable(code, "tool", "exec")) - set(dir(builtins))
