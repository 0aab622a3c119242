"""What connectors add: real pairs, and the arithmetic on known times."""
from __future__ import annotations

import pytest

from labkit.profiling import connectors


def test_the_median_of_the_differences_within_pairs():
    found = connectors.Added("x", "client", (0.100, 0.200, 0.900), (0.101, 0.205, 0.902))
    assert found.added_ms == pytest.approx(2.0)
    table = str(connectors.Connectors((found,), {"mlx": "not installed"}))
    assert "+2.00" in table and "Not here: mlx (not installed)" in table


@pytest.mark.parametrize("name", ["llama.cpp-server", "openai", "ollama"])
def test_real_pairs_are_measured_on_both_sides(monkeypatch, name):
    monkeypatch.setattr(connectors, "TOPICS", connectors.TOPICS[:2])
    found = connectors.run([name])
    assert found.left_out == {}
    result, = found.results
    assert result.name == name and len(result.own_s) == len(result.labkit_s) == 2
    assert all(0 < seconds < 30 for seconds in result.own_s + result.labkit_s)
