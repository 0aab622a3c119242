"""The real model, once; and a scripted one for what a real model cannot be made to do."""
from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from importlib.metadata import entry_points

import pytest

import labkit as lk
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.reply import Usage


def pytest_configure(config):
    """Hear Ctrl-C, and let the programs that tests start hear it: a shell's background job, as in CI, ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _core_of_its_own(os.environ.get("PYTEST_XDIST_WORKER", ""))


def _core_of_its_own(worker: str) -> None:
    """With `-n`: models that compute with every core, beside each other, wait for each other most of the time."""
    if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n 2`: the tests of a file stay together, and those of a runtime, which is then loaded once for all."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)
    return Together(config, log)


def together(nodeid: str) -> str:
    """What a test shares with others: its file; the runtime of the conformance suite; a lesson with its solution."""
    file, _, test = nodeid.partition("::")
    if "/test_conformance" in file:
        names = [entry.name for entry in entry_points(group="labkit.backends") if f"[{entry.name}" in test]
        return max(names, key=len, default=file)
    return file.rpartition("/")[2] if file.endswith(".ipynb") else file


def pytest_terminal_summary(terminalreporter) -> None:
    """What tests measured: record_property("figures", "…")."""
    for report in terminalreporter.getreports("passed"):
        for name, figures in report.user_properties:
            if name == "figures" and report.when == "call":
                terminalreporter.section(report.nodeid, sep="-")
                terminalreporter.write_line(figures)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """In CI, end at once: five native runtimes have threads in this process, and one may keep it from ending.

    That an ordinary program ends is a test of its own, in tests/backends/test_llama_cpp.py.
    """
    if os.environ.get("CI") and (session := config.pluginmanager.get_plugin("session")):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(session.exitstatus)


@pytest.fixture(scope="session")
def slm():
    """The embedded model."""
    return lk.connect()


class Scripted(Backend):
    """Answers what was enqueued, one answer per call: pieces of text, or an exception to raise."""

    name = model = "scripted"

    def __init__(self, capabilities: Capabilities | None = None):
        self._capabilities = capabilities or Capabilities()
        self.answers: deque = deque()
        self.requests: list = []

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def enqueue(self, *pieces, finish_reason: str = "stop") -> Scripted:
        self.answers.append((pieces, finish_reason))
        return self

    def generate(self, request):
        self.requests.append(request)
        pieces, reason = self.answers.popleft()
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield Chunk(piece)
        yield Chunk(tokens=0, finish_reason=reason, usage=Usage(1, len(pieces)))


@pytest.fixture
def script() -> Scripted:
    """The scripted backend; enqueue() its answers."""
    return Scripted()


@pytest.fixture
def scripted_slm(script):
    """A connected model that answers what `script` says."""
    return lk.Chat(script)


@pytest.fixture
def trusted_script() -> Scripted:
    """A scripted backend that says it enforces schemas, so that its answers go through unrepaired."""
    return Scripted(Capabilities(frozenset({"json_schema"})))


@pytest.fixture
def in_thread():
    """in_thread(f) runs f in a thread of its own; call what it gives for the result."""
    def start(function):
        done: dict = {}

        def work():
            try:
                done["value"] = function()
            except BaseException as error:
                done["error"] = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()

        def result():
            thread.join(120)
            assert done, "the thread did not end"
            if "error" in done:
                raise done["error"]
            return done["value"]
        return result
    return start


@pytest.fixture(scope="session")
def typed_rung():
    """typed_rung(level, megabytes, kl, tokens/s, places with the same top token of 255): figures typed in, no run."""
    from labkit.profiling import bench
    from labkit.profiling.ladder import Rung
    from labkit.profiling.quality import Divergence, Perplexity

    def made(level: str, megabytes: float, kl: float, decode: float, same: int = 255) -> Rung:
        return Rung(level, int(megabytes * 1e6), 8 * megabytes / 134.5, 3, 1.0, 0.3, bench.Speed("prefill", (990.0,)),
                    bench.Speed("decode", (decode, decode)), 0.6, 300_000_000, Perplexity(68.0, 8.0, 255),
                    None if level == "F16" else Divergence((kl,) * 255, same), 3, "It is Paris.", None)
    return made


@pytest.fixture(scope="session")
def typed_ladder(typed_rung):
    """typed_ladder(*rungs): a ladder of them, of five levels by default."""
    from labkit.models.budget import SHAPES
    from labkit.models.hardware import machine
    from labkit.profiling.ladder import QUICK, Ladder
    five = (typed_rung("F16", 271, 0, 110), typed_rung("Q8_0", 145, 0.004, 160, 246),
            typed_rung("Q4_K_M", 105, 0.02, 150, 240), typed_rung("Q4_0", 92, 0.22, 200, 180),
            typed_rung("Q2_K", 88, 0.43, 210, 150))
    shape = SHAPES["SmolLM2-135M"]
    return lambda *rungs: Ladder("SmolLM2-135M-Instruct F16", shape, rungs or five, QUICK, 40e9, machine())
