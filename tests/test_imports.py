"""The house: imports point one way, and `import labkit` loads no runtime."""
from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "labkit"

# What each part may import. "backends.base" is that module alone. Every part may import itself and
# the foundations, which import nothing of the house. cli, doctor, specialise and terminal sit on top of it all.
FOUNDATIONS = {"errors", "table", "data", "intervals", "lazy", "yaml_file"}
BASE_TYPES = {"backends.base", "backends.reply", "tools.call", "tools.constraint"}
MAY_IMPORT = {
    "models": set(),
    "tools": set(),
    "backends": {"models", "tools"},
    "agents": {"backends", "tools"},
    "serving": {"agents", "backends", "tools", "models", "profiling.memory", "profiling.sensors"},
    # it measures what a user gets
    "profiling": BASE_TYPES | {"models", "connect", "tool", "tools.examples", "backends.registry", "agents",
                               "domains"},
    "safety": BASE_TYPES,
    "domains": {"agents", "backends", "tools"},
    "attacks": {"agents", "backends", "connect", "domains", "models", "safety", "tools"},
}
ON_TOP = {"widgets", "course", "report", "cli", "cli_attack", "cli_common", "cli_deploy", "cli_desks", "cli_report",
          "cli_runtimes", "cli_safety", "doctor", "specialise", "terminal", "__main__"}


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def house_imports(file: Path) -> Iterator[tuple[str, int]]:
    """(module inside labkit, line) of every import in a file, at the top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"labkit.{part_of(file)}"]  # relative: stays in its folder, by the next test
        else:
            continue
        yield from ((name.removeprefix("labkit").lstrip("."), node.lineno) for name in names
                    if name.split(".")[0] == "labkit")


def allowed(module: str, rules: set[str]) -> bool:
    return any(module == rule or module.startswith(rule + ".") for rule in rules)


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_imports_point_one_way(part):
    rules = MAY_IMPORT[part] | FOUNDATIONS | {part}
    wrong = [f"{file.relative_to(PACKAGE)}:{line} imports {module or 'labkit'}"
             for file in sorted((PACKAGE / part).rglob("*.py")) for module, line in house_imports(file)
             if not allowed(module, rules)]
    assert not wrong


def test_foundations_stand_alone():
    for name in FOUNDATIONS:
        assert not [module for module, _ in house_imports(PACKAGE / f"{name}.py") if not allowed(module, FOUNDATIONS)]


def test_nothing_below_imports_what_sits_on_top():
    below = [file for file in PACKAGE.rglob("*.py") if part_of(file) not in ON_TOP]
    wrong = [f"{file.relative_to(PACKAGE)}:{line} imports {module}" for file in below
             for module, line in house_imports(file) if allowed(module, ON_TOP)]
    assert not wrong


def test_every_part_has_a_place():
    parts = {part_of(file) for file in PACKAGE.rglob("*.py")} - {"__init__"}
    assert parts <= set(MAY_IMPORT) | ON_TOP | FOUNDATIONS


def test_imports_name_their_module_in_full():
    for file in PACKAGE.rglob("*.py"):
        relative = [node.lineno for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                    if isinstance(node, ast.ImportFrom) and node.level]
        assert not relative, f"{file}: relative imports in lines {relative}"


HEAVY = ["llama_cpp", "llguidance", "numpy", "matplotlib", "ipywidgets", "IPython", "jupyterlab", "pydantic",
         "rich", "psutil", "nbformat", "agent_framework", "mcp", "mcp_types", "sklearn", "yaml"]


@pytest.mark.parametrize("statement", ["import labkit", "import labkit.cli", "import labkit.doctor"])
def test_importing_loads_no_runtime(statement):
    code = f"{statement}; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
