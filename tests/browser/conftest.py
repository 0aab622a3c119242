"""A JupyterLab of the course's own command, and a real Chromium. Neither outlives the tests."""
from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]


def missing(what: str) -> None:
    """Skip with a reason; in CI, which installs everything, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")


@dataclass(frozen=True)
class Lab:
    """A running server. `folder` is its copy of the notebooks: what is done here is not done to ours."""

    port: int
    token: str
    folder: Path
    log: Path

    def url(self, notebook: str) -> str:
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}&reset"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="package")
def notebooks_copy(tmp_path_factory) -> Path:
    """notebooks/ and data/ side by side, as in a checkout."""
    place = tmp_path_factory.mktemp("course")
    for name in ("notebooks", "data"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    return place / "notebooks"


@pytest.fixture(scope="package")
def lab(notebooks_copy, tmp_path_factory) -> Iterator[Lab]:
    """`labkit lab` on a free port of the loopback, with settings of its own."""
    private = tmp_path_factory.mktemp("jupyter")
    there = Lab(_free_port(), secrets.token_hex(16), notebooks_copy, private / "server.log")
    env = {**os.environ, "LABKIT_NOTEBOOKS": str(there.folder), "LABKIT_HOME": str(private / "labkit"),
           **{f"JUPYTER_{kind}_DIR": str(private / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")},
           "JUPYTERLAB_SETTINGS_DIR": str(private / "s"), "JUPYTERLAB_WORKSPACES_DIR": str(private / "w")}
    command = [sys.executable, "-m", "labkit", "lab", "--no-browser", f"--ServerApp.port={there.port}",
               "--ServerApp.port_retries=0", f"--IdentityProvider.token={there.token}",
               "--LabApp.expose_app_in_browser=True"]
    with there.log.open("wb") as log:
        group = {"start_new_session": True} if os.name == "posix" else {
            "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        server = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **group)
    try:
        _wait_for(server, there)
        yield there
    finally:
        _end(server)


def _wait_for(server: subprocess.Popen, lab: Lab, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            address = f"http://127.0.0.1:{lab.port}/api/status?token={lab.token}"
            with urllib.request.urlopen(address, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{lab.log.read_text(encoding='utf-8', errors='replace')[-4000:]}")


def _end(server: subprocess.Popen) -> None:
    """Ask, then force: the server, its kernels, and what they started."""
    try:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    server.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait(timeout=10)


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """The machine's own Chromium or Chrome, driven by Playwright.

    No longer than needed: Playwright keeps an event loop running in this thread, and none can be started then.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        missing("Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that refuses every address but this machine's: the course needs no other."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    outside: list[str] = []

    def guard(route):
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            return route.continue_()
        outside.append(route.request.url)
        return route.abort()
    context.route("**/*", guard)
    page = context.new_page()
    page.outside = outside
    yield page
    context.close()


@pytest.fixture(scope="package")
def pictures() -> Path:
    """Where the screenshots are kept for a person to look at."""
    folder = Path(os.environ.get("LABKIT_ARTIFACTS") or ROOT / "artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
