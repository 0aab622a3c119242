"""`needs("ollama")`: what a machine lacks is said in one line, and the rest of the lesson rests.

How it works. A missing need shows one line that carries SKIP_MIME data, so a runner sees it in the cell's
outputs. Then a `_Rest` exception ends the cell, without a traceback and with the status "ok": for JupyterLab,
nbclient and nbval nothing failed. Cells that had not run before are turned into nothing until a `needs` with
the same names succeeds (so a learner who starts Ollama runs that one cell again and goes on).
In a plain Python process the script ends with exit status 77, the usual one for "skipped".

For CI: `labkit.course.nbval_plugin` prints every skip and fails on one that LABKIT_EXPECTED_SKIPS (names with
commas) does not name, when that is set or CI is; `LessonRun.skips` lists them for a headless run.
"""
from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from labkit.course.card import SKIP_MIME, Card, shell, show

SKIPPED_EXIT = 77


class _Rest(BaseException):
    """Ends a cell on purpose. Not an Exception, so a lesson's `except Exception` does not swallow it."""


def needs(*modules: str, stop: bool = True, how: str = "", **probes: Callable[[], object]) -> bool | None:
    """Go on only if every need is met; else say so in one line and let the rest of the notebook rest.

    `needs("torch")` asks whether a module can be imported; `needs(ollama=probe)` calls `probe()`, which
    returns True, or False, or in a string why not; raising means not. `how` says how to get it.
    With `stop=False` the lesson goes on with what it can: True or False says whether the needs are met.
    (Without it nothing is returned, else a notebook would print a bare True under the cell.)
    """
    missing = {name: why for name, why in _missing(modules, probes)}
    if not missing:
        _resume({*modules, *probes})
        return None if stop else True
    reason = "; ".join(f"{name} ({why})" for name, why in missing.items())
    rest = "the rest of this notebook" if stop else "this part"
    line = f"Skipped {rest}. Not on this machine: {reason}.{' ' + how if how else ''}"
    show(Card(line, data={SKIP_MIME: {"needs": sorted(missing), "reason": reason, "stop": stop}}))
    if stop:
        _stop(set(missing))
    return False


def _missing(modules, probes):
    for name in modules:
        try:
            there = find_spec(name) is not None
        except (ImportError, ValueError):  # a parent package is absent, or half imported
            there = False
        if not there:
            yield name, "not installed"
    for name, probe in probes.items():
        try:
            answer = probe()
        except Exception as error:
            yield name, (str(error).strip().splitlines() or [type(error).__name__])[-1]
            continue
        if answer is not True and (isinstance(answer, str) or not answer):
            yield name, answer or "not available"


def _stop(missing: set[str]) -> None:
    ip = shell()
    if ip is None:
        raise SystemExit(SKIPPED_EXIT)
    _resting(ip).begin(missing)
    raise _Rest


def _resume(found: set[str]) -> None:
    ip = shell()
    if ip is not None and (resting := getattr(ip, "_labkit_resting", None)):
        resting.end(found)


def _resting(ip) -> _Resting:
    if not hasattr(ip, "_labkit_resting"):
        ip._labkit_resting = _Resting(ip)
    return ip._labkit_resting


class _Resting:
    """Blanks the cells of one shell while something is missing."""

    def __init__(self, ip):
        self.ip, self.missing, self.ran_before = ip, set(), set()
        ip.set_custom_exc((_Rest,), lambda *_, **__: [])  # shows nothing
        ip.events.register("post_run_cell", self._calm)
        ip.input_transformers_cleanup.insert(0, self._blank)

    def begin(self, missing: set[str]) -> None:
        self.missing |= missing
        # The raw text of cells so far, the present one among them: a learner may run those again.
        self.ran_before = {cell.strip() for cell in self.ip.history_manager.input_hist_raw}

    def end(self, found: set[str]) -> None:
        self.missing -= found

    def _calm(self, result) -> None:
        """A rest is no error: the kernel answers "ok", so that no runner stops or fails here."""
        if result is not None and isinstance(result.error_in_exec, _Rest):
            result.error_in_exec = None

    def _blank(self, lines: list[str]) -> list[str]:
        text = "".join(lines)
        if not self.missing or text.strip() in self.ran_before or "needs(" in text:
            return lines
        return ["\n"]
