"""A pytest plugin that holds nbval's notebooks to the course's rules: `-p labkit.course.nbval_plugin`.

- Every skip that needs() declared is printed at the end, and the cells it put to rest count as skipped.
- A skip fails when it names what this machine should have: LABKIT_EXPECTED_SKIPS lists, with commas, what may
  be missing ("" for nothing). Where that is not set, any skip fails if CI is set, and none does elsewhere.
- In notebooks/solved every check() must pass; in a learner's notebook none may.
- What the run does stays out of the learner's own progress.
- A solved form goes on where its lesson ended, see nbval_shared.
"""
from __future__ import annotations

import os

import pytest

from labkit.course.card import CHECK_MIME, SKIP_MIME
from labkit.course.checking import NOT_YET, PASSED, UNDONE
from labkit.course.nbval_shared import share_kernels

SKIPPED = "skipped by needs()"

_stopped = pytest.StashKey[str]()


def pytest_configure(config):
    os.environ["LABKIT_PROGRESS"] = "memory"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    share_kernels(config, items, _stopped_too)


def _stopped_too(lesson, solved) -> None:
    if _stopped in lesson.stash:
        solved.stash[_stopped] = lesson.stash[_stopped]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call" and report.passed and type(item).__name__ == "IPyNbCell":
        faults = [*_unexpected_skips(item, report), *_wrong_checks(item)]
        if faults:
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: " + "; ".join(faults)
        elif reason := _resting(item):
            report.outcome, report.longrepr = "skipped", (str(item.path), item.cell_num, f"Skipped: {reason}")
    return report


def _data(item, mime: str) -> list[dict]:
    """The JSON that this cell's outputs carry under `mime`."""
    bundles = [output.get("data", {}) for output in item.test_outputs or []]
    return [bundle[mime] for bundle in bundles if mime in bundle]


def _unexpected_skips(item, report):
    for skip in _data(item, SKIP_MIME):
        surprising = _surprising(skip["needs"])
        said = f"{skip['reason']} [{'not expected' if surprising else 'allowed'}]"
        report.user_properties.append((SKIPPED, said))  # the report travels, where others run the tests (pytest-xdist)
        if skip["stop"]:
            item.parent.stash[_stopped] = skip["reason"]
        if surprising:
            yield f"this machine should have {', '.join(surprising)}, but needs() skipped: {skip['reason']}"


def _surprising(names: list[str]) -> list[str]:
    expected = os.environ.get("LABKIT_EXPECTED_SKIPS")
    if expected is None:
        in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
        return names if in_ci else []
    return [name for name in names if name not in {n.strip() for n in expected.split(",")}]


def _wrong_checks(item):
    solved = item.path.parent.name == "solved"
    allowed = (PASSED,) if solved else (UNDONE, NOT_YET)  # a stub with some lines given is "not yet"
    for found in _data(item, CHECK_MIME):
        if found["status"] not in allowed:
            form = "the solved" if solved else "the learner's"
            yield f"check {found['exercise']} says {found['status']!r} in {form} form"


def _resting(item) -> str:
    ran = item.test_outputs or _data(item, SKIP_MIME)
    return "" if ran else item.parent.stash.get(_stopped, "")


def pytest_terminal_summary(terminalreporter):
    reports = [r for reports in terminalreporter.stats.values() for r in reports if hasattr(r, "user_properties")]
    said = [f"{r.nodeid}: {text}" for r in reports for name, text in r.user_properties if name == SKIPPED]
    if said:
        terminalreporter.section(SKIPPED)
    for line in said:
        terminalreporter.write_line(line)
