"""The environment in which training and the makers of other forms run."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from labkit.models import adapter
from labkit.models.environments import environment


@pytest.fixture(scope="session")
def workshop_environment():
    """Without it a test is skipped; in CI it fails."""
    found = environment("workshop")
    if reason := found.why_not():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


@pytest.fixture
def in_workshop(workshop_environment):
    """Runs a script there, the modules of training beside it, and returns the last line that it printed."""
    def run(script: str) -> str:
        done = subprocess.run([workshop_environment.python, "-c", script], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(Path(adapter.__file__).parent)})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]
    return run
