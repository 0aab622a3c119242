"""Derive the notebooks from the lessons' sources: python -m labkit.course.build [NN …] [--execute] [--check]

For who writes a lesson
-----------------------
One source a lesson, `notebooks/source/NN_name.py`, in jupytext's percent format: `# %% [markdown]` opens a
cell of text, `# %%` a cell of code. From it come `notebooks/NN_name.ipynb` (the learner's form, with outputs)
and `notebooks/solved/NN_name.ipynb` (without). Never edit those two by hand.

An exercise is a code cell with the solution inline, and after it a cell that checks it:

    # %%
    def thermostat(reading, target=20):
        # solution
        return "heat" if reading < target else "off"
        # end
        #~ ...  # "heat" below the target, else "off"

    # %%
    check("01.1", thermostat)

The lines between `# solution` and `# end` (indented alike) are the solution. Lines that begin with `#~ ` are
the learner's stub, without the `#~ `. All other lines are in both forms. Leave the stub as `...`, so that
check() can say "not done yet", and let no later cell depend on the learner's answer.
The check and the hint go into `labkit/course/exercises/lesson_NN.py`; `labkit.course.checking` shows how.

Three exercises a lesson; about 25 lines a code cell, never over 30. Call `plot_style()` once and show
figures with `alt(figure, "what it shows")`. Ask `needs(…)` for what not every machine has. Print no absolute
path and let nothing raise: a stored error fails the build. A widget's output is stored only when it has an
HTML form beside the widget. Then:

    python -m labkit.course.build 01              # both forms; outputs are kept if no code changed
    python -m labkit.course.build 01 --execute    # and run the learner's form, in a clean kernel
    python -m labkit.course.build --check         # exit status 1 when a notebook is not what its source gives
"""
from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from pathlib import Path

from labkit.course.lessons import Lesson, find_lesson, list_lessons
from labkit.course.source import SourceCell, read_source
from labkit.course.stored import clean_outputs, machine_paths
from labkit.errors import LabkitError


class BuildError(LabkitError):
    """A lesson cannot be built; the message says why."""


def build(lesson: Lesson, *, execute: bool = False) -> None:
    """Write both forms of one lesson; with `execute`, run the learner's form and store its outputs."""
    _write(lesson.solved, derive(lesson, solved=True))
    notebook = derive(lesson, solved=False)
    if execute:
        _run(lesson, notebook)
    else:
        _keep_outputs(lesson.path, notebook)
    _write(lesson.path, notebook)


def derive(lesson: Lesson, *, solved: bool):
    """The notebook (nbformat 4) that the source gives, without outputs. Same source, same bytes."""
    from nbformat import v4
    cells, seen = [], Counter()
    for cell in read_source(lesson.source).cells:
        make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell, "raw": v4.new_raw_cell}[cell.kind]
        text = cell.solved if solved else cell.learner
        cells.append(make(text, id=_cell_id(cell, seen), metadata=_metadata(cell)))
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def _cell_id(cell: SourceCell, seen: Counter) -> str:
    """From the content, so that a cell keeps its id when others come or go; equal cells are counted."""
    name = hashlib.sha256(f"{cell.kind}\n{cell.raw}".encode()).hexdigest()[:12]
    seen[name] += 1
    return name if seen[name] == 1 else f"{name}-{seen[name]}"


def _metadata(cell: SourceCell) -> dict:
    metadata: dict = {"tags": cell.tags} if cell.tags else {}
    if cell.exercise:
        metadata["labkit"] = {"exercise": cell.exercise}
    return metadata


def _run(lesson: Lesson, notebook) -> None:
    from labkit.course.running import execute
    run = execute(notebook, lesson.path, timeout_s=600)
    if run.error:
        raise BuildError(str(run))
    for skip in run.skips:
        print(f"{lesson.name}: cell {skip.cell} skipped here: {skip.reason}", file=sys.stderr)
    clean_outputs(notebook)
    if found := machine_paths(notebook):
        raise BuildError(f"{lesson.name}: outputs name paths of this machine: " + "; ".join(found))
    print(f"{lesson.name}: {len(run.cells)} cells in {run.seconds:.1f} s")


def _keep_outputs(path: Path, notebook) -> None:
    """Take over the stored outputs if they are of this very code; else they would be of another lesson."""
    old = _load(path)
    if old is None or _code(old) != _code(notebook):
        return
    for new, stored in zip(_code_cells(notebook), _code_cells(old), strict=True):
        new.outputs, new.execution_count = stored.outputs, stored.execution_count


def differences(lesson: Lesson) -> list[str]:
    """What in the lesson's two notebooks is not what its source gives (outputs aside)."""
    if not lesson.source.is_file():
        return [f"{lesson.name}: has no source notebooks/source/{lesson.name}.py"]
    pairs = [(lesson.path, derive(lesson, solved=False)), (lesson.solved, derive(lesson, solved=True))]
    return [f"{path.parent.name}/{path.name} {what}" for path, new in pairs for what in _changes(path, new)]


def _changes(path: Path, new) -> list[str]:
    old = _load(path)
    if old is None:
        return ["is not there"]
    found = [] if old.metadata == new.metadata else ["has other metadata than its source gives"]
    parts = [[(c.id, c.cell_type, c.source, c.metadata) for c in notebook.cells] for notebook in (old, new)]
    if len(parts[0]) != len(parts[1]):
        return [*found, f"has {len(parts[0])} cells, its source {len(parts[1])}"]
    changed = [i for i, (a, b) in enumerate(zip(*parts, strict=True)) if a != b]
    return [*found, *(f"differs from its source in cell {i}" for i in changed)]


def _code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _code(notebook) -> list[str]:
    return [cell.source for cell in _code_cells(notebook)]


def _load(path: Path):
    import nbformat
    return nbformat.read(path, as_version=4) if path.is_file() else None


def _write(path: Path, notebook) -> None:
    import nbformat
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m labkit.course.build", description="Build the notebooks.")
    parser.add_argument("lessons", nargs="*", metavar="NN", help="which lessons (default: all)")
    parser.add_argument("--execute", action="store_true", help="run the learner's form and store its outputs")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a notebook is stale")
    options = parser.parse_args(arguments)
    try:
        chosen = [find_lesson(n) for n in options.lessons] or list_lessons()
        if options.check:
            return _report([line for lesson in chosen for line in differences(lesson)])
        for lesson in chosen:
            build(lesson, execute=options.execute)
    except LabkitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(found: list[str]) -> int:
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("Build them with: python -m labkit.course.build", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
