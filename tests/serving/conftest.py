"""A server over the real model, and one over the scripted backend."""
from __future__ import annotations

import pytest

from labkit.serving.background import serve_in_background


@pytest.fixture(scope="session")
def server(slm):
    """The embedded model, served without a key."""
    with serve_in_background(slm) as running:
        yield running


@pytest.fixture
def scripted_server(scripted_slm):
    """The scripted backend, served."""
    with serve_in_background(scripted_slm) as running:
        yield running
