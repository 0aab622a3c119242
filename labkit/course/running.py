"""Run a lesson without a browser, in a clean kernel of this Python. Never writes to the notebook."""
from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labkit.course.card import CHECK_MIME, SKIP_MIME
from labkit.course.lessons import find_lesson
from labkit.errors import BadRequest


@dataclass(frozen=True)
class CellRun:
    """One code cell that ended. `number` counts code cells from 1, `of` is how many there are."""

    number: int
    of: int
    line: str            # the first line of its source
    seconds: float
    resting: bool = False  # an earlier needs() put it to rest


@dataclass(frozen=True)
class Skip:
    cell: int
    needs: list[str]
    reason: str
    stop: bool


@dataclass(frozen=True)
class CellError:
    cell: int
    line: str            # the first line of the cell's source
    message: str         # the error's last line


@dataclass
class LessonRun:
    """What a headless run came to. `checks` maps an exercise's id to what check() said of it."""

    lesson: str
    solved: bool
    cells: list[CellRun] = field(default_factory=list)
    seconds: float = 0.0
    skips: list[Skip] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    error: CellError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def __str__(self) -> str:
        lines = [f"{self.lesson}: {len(self.cells)} cells in {self.seconds:.1f} s"]
        lines += [f"  cell {s.cell} skipped: {s.reason}" for s in self.skips]
        if self.error:
            lines.append(f"  cell {self.error.cell} failed ({self.error.line}): {self.error.message}")
        return "\n".join(lines)


def run_lesson(path_or_number: str, *, solved: bool = False,
               on_cell: Callable[[CellRun], None] | None = None, timeout_s: float = 300) -> LessonRun:
    """Run the lesson "01" (or the notebook at a path) from top to bottom; stop at the first error.

    `on_cell` is called after each code cell. `timeout_s` holds for the whole lesson; running out is an error
    in the result. Raises BadRequest when there is no such lesson or the file is no notebook.
    """
    path = _path(path_or_number, solved)
    return execute(_read(path), path, solved=solved, on_cell=on_cell, timeout_s=timeout_s)


def _path(path_or_number: str, solved: bool) -> Path:
    given = Path(path_or_number)
    if given.suffix == ".ipynb":
        path = given.parent / "solved" / given.name if solved and given.parent.name != "solved" else given
    else:
        lesson = find_lesson(path_or_number)
        path = lesson.solved if solved else lesson.path
    if not path.is_file():
        raise BadRequest(f"There is no notebook {path}. Build it with: python -m labkit.course.build")
    return path.resolve()


def _read(path: Path):
    import nbformat
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat lets through errors of json, jsonschema and its own
        why = type(error).__name__
        raise BadRequest(f"{path} is not a notebook ({why}). Get it anew from the course.") from error


def execute(notebook, path: Path, *, solved=False, on_cell=None, timeout_s: float = 300) -> LessonRun:
    """Run a notebook object in place; its outputs are those of this run."""
    run, start = LessonRun(path.stem, solved), time.monotonic()
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
    client = _client(notebook, path.parent, start + timeout_s)
    # What a headless run does is not the learner's own work, so it stays out of their progress.
    env = {**os.environ, "LABKIT_PROGRESS": "memory", "PYTHONIOENCODING": "utf-8"}
    with client.setup_kernel(env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        cells = [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "code" and c.source.strip()]
        for number, (index, cell) in enumerate(cells, 1):
            line, began = cell.source.strip().splitlines()[0], time.monotonic()
            if problem := _problem(client, cell, index, timeout_s):
                run.error = CellError(number, line, problem)
                break
            resting = any(s.stop for s in run.skips)
            _collect(run, number, cell)
            done = CellRun(number, len(cells), line, time.monotonic() - began, resting)
            run.cells.append(done)
            if on_cell:
                on_cell(done)
    run.seconds = time.monotonic() - start
    return run


def _problem(client, cell, index: int, timeout_s: float) -> str:
    """Run one cell; what went wrong in one line, or nothing."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        return _last_line(f"{error.ename}: {error.evalue}")
    except CellTimeoutError:
        return f"the lesson took longer than {timeout_s:g} s"
    except DeadKernelError:
        return "the kernel died; not enough memory is the usual cause"
    return ""


def _client(notebook, folder: Path, deadline: float):
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_this_python())
    client = NotebookClient(
        notebook, km=manager, resources={"metadata": {"path": str(folder)}}, record_timing=False,
        store_widget_state=False, coalesce_streams=True, iopub_timeout=30,
        timeout_func=lambda _: max(1, math.ceil(deadline - time.monotonic())),
    )
    client.owns_km = True  # so that it ends the kernel that it starts
    return client


def _this_python():
    """A kernel of the Python we run in, whatever kernels named python3 are installed on this machine."""
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name):
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())
    return ThisPython()


def _collect(run: LessonRun, number: int, cell) -> None:
    for data in (output.get("data", {}) for output in cell.outputs):
        if skip := data.get(SKIP_MIME):
            run.skips.append(Skip(number, **skip))
        if found := data.get(CHECK_MIME):
            run.checks[found["exercise"]] = found["status"]


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), text)
