"""A clock that a test sets."""
from __future__ import annotations

import pytest


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()
