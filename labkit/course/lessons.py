"""Where the lessons are, and what is in them. Reads files only; runs nothing."""
from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import BadRequest

WHERE = (
    "The course's notebooks folder was not found. Start in the folder that holds it, "
    "or set LABKIT_NOTEBOOKS to its path."
)
_NAME = re.compile(r"(\d\d)_\w+")


@dataclass(frozen=True)
class Lesson:
    number: str      # "01"
    name: str        # "01_what_is_an_agent"
    folder: Path     # the notebooks folder

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.ipynb"

    @property
    def solved(self) -> Path:
        return self.folder / "solved" / f"{self.name}.ipynb"

    @property
    def source(self) -> Path:
        return self.folder / "source" / f"{self.name}.py"

    @property
    def title(self) -> str:
        """The first heading of the learner's notebook, or its name."""
        texts = (c["source"] for c in _cells(self.path) if c["cell_type"] == "markdown")
        heads = ("".join(text).splitlines() for text in texts)
        return next((h[2:].strip() for lines in heads for h in lines if h.startswith("# ")), self.name)


def _cells(path: Path) -> list[dict]:
    """The cells of a notebook; none when the file is not there or is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def notebooks_dir() -> Path | None:
    """LABKIT_NOTEBOOKS; the folder we are in, or its notebooks/; or the one beside an editable install."""
    if chosen := os.environ.get("LABKIT_NOTEBOOKS"):
        return Path(chosen).expanduser().resolve()
    here = Path.cwd()
    install = Path(__file__).resolve().parents[2]
    tried = [here, here / "notebooks", here.parent, here.parent / "notebooks", install / "notebooks"]
    return next((folder for folder in tried if _holds_lessons(folder)), None)


def _holds_lessons(folder: Path) -> bool:
    """Lessons lie beside their solved forms or sources, which tells our folder from others."""
    return any((folder / sub).is_dir() for sub in ("solved", "source")) and bool(_found(folder))


def _found(folder: Path) -> list[Lesson]:
    files = [*folder.glob("*.ipynb"), *(folder / "source").glob("*.py")]
    names = sorted({f.stem for f in files if _NAME.fullmatch(f.stem)})
    return [Lesson(name[:2], name, folder) for name in names]


def list_lessons() -> list[Lesson]:
    """The lessons there are, in order; empty when the notebooks folder is not found."""
    folder = notebooks_dir()
    return _found(folder) if folder else []


def find_lesson(number: str | int) -> Lesson:
    """The lesson "01", 1 or "01_what_is_an_agent". Raises BadRequest naming those there are."""
    wanted, there = str(number).strip(), list_lessons()
    for lesson in there:
        if wanted.zfill(2) == lesson.number or wanted == lesson.name:
            return lesson
    if not there:
        raise BadRequest(WHERE)
    numbers = ", ".join(lesson.number for lesson in there)
    raise BadRequest(f"There is no lesson {wanted}. There are {numbers}.")


def exercise_lessons() -> list[str]:
    """The numbers of lessons that have exercises."""
    folder = Path(__file__).parent / "exercises"
    return sorted(file.stem[-2:] for file in folder.glob("lesson_[0-9][0-9].py"))


def solution_code(id: str) -> str | None:
    """The solution of exercise `id`, from the solved notebook or the source; None if neither is here."""
    lesson = next((lesson for lesson in list_lessons() if lesson.number == id.split(".")[0]), None)
    if lesson is None:
        return None
    return _from_solved(lesson, id) or _from_source(lesson, id)


def _from_solved(lesson: Lesson, id: str) -> str | None:
    for cell in _cells(lesson.solved):
        if cell["metadata"].get("labkit", {}).get("exercise") == id:
            return "".join(cell["source"])
    return None


def _from_source(lesson: Lesson, id: str) -> str | None:
    try:
        from labkit.course.source import read_source
        cells = read_source(lesson.source).cells
    except (OSError, ImportError):  # jupytext comes with the [test] extra only
        return None
    return next((cell.solved for cell in cells if cell.exercise == id), None)
