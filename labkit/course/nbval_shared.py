"""Under nbval, a lesson's solved form goes on in the kernel in which the lesson ran.

Up to the first exercise both forms have the same cells, and most of a lesson's time is spent there. They run once.
Then the solved form's own cells run in the same kernel, to the end. A solved form that is run alone begins at its
beginning. So it does when the lesson's kernel has died, and where the lesson goes on after its first exercise: its
last cells would meet what they have left behind.
"""
from __future__ import annotations

from itertools import dropwhile, takewhile


def share_kernels(config, items: list, on_shared) -> None:
    """Put each solved form behind its lesson, and let it go on there. on_shared(lesson, solved): when it does."""
    cells: dict = {}
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            cells.setdefault(item.path, []).append(item)
    pairs = {path: solved for path in cells if (solved := path.parent / "solved" / path.name) in cells}
    moved = set(pairs.values())
    ordered = []
    for item in items:
        if item.path not in moved:
            ordered.append(item)
        if item.path in pairs and item is cells[item.path][-1]:
            ordered += cells[pairs[item.path]]
    items[:] = ordered
    for path, solved in pairs.items():
        if _ends_in_exercises(cells[path], cells[solved]):
            _share(config, cells[path], cells[solved], on_shared)


def _same(pair) -> bool:
    return pair[0].cell.source == pair[1].cell.source


def _ends_in_exercises(lesson_cells: list, solved_cells: list) -> bool:
    """Whether nothing but checks, and one cell to clear up, follows the first exercise."""
    pairs = list(zip(lesson_cells, solved_cells, strict=False))
    rest = list(dropwhile(_same, pairs))[:-1]
    return not any(_same(pair) and "check(" not in pair[0].cell.source for pair in rest)


def _share(config, lesson_cells: list, solved_cells: list, on_shared) -> None:
    lesson, solved = lesson_cells[0].parent, solved_cells[0].parent
    begin, end = solved.setup, lesson.teardown

    def setup() -> None:
        if lesson.kernel is None or not lesson.kernel.is_alive():
            begin()
            return
        solved.kernel = lesson.kernel
        solved.setup_sanitize_files()
        on_shared(lesson, solved)

    solved.setup, lesson.teardown = setup, lambda: None
    config.add_cleanup(end)  # where the solved form never came to its turn
    for twin, cell in takewhile(_same, zip(lesson_cells, solved_cells, strict=False)):
        cell.runtest = _once(cell, twin)


def _once(cell, twin):
    run = cell.runtest

    def runtest() -> None:
        if twin.test_outputs is None or cell.parent.kernel is not twin.parent.kernel:
            run()
        else:
            cell.test_outputs = twin.test_outputs
    return runtest
