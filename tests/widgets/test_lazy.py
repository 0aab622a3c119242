"""The widgets load ipywidgets when they are used, and say what is missing."""
from __future__ import annotations

import subprocess
import sys

import pytest


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")


def test_importing_the_package_loads_no_ipywidgets():
    code = "import sys, labkit.widgets; assert 'ipywidgets' not in sys.modules; print(dir(labkit.widgets))"
    assert "ChatBox" in python(code).stdout


@pytest.mark.parametrize("name", ["ChatBox", "LiveProfiler"])
def test_without_ipywidgets_the_error_says_how_to_get_it(name):
    result = python(f"import sys; sys.modules['ipywidgets'] = None\nfrom labkit.widgets import {name}")
    assert result.returncode == 1
    assert f"ImportError: {name} needs ipywidgets. Install it with: pip install ipywidgets" in result.stderr


def test_the_trace_works_without_ipywidgets():
    result = python("import sys; sys.modules['ipywidgets'] = None\nfrom labkit.widgets import TraceView")
    assert result.returncode == 0, result.stderr


def test_an_unknown_name_is_an_attribute_error():
    import labkit.widgets
    with pytest.raises(AttributeError, match="Chatbox"):
        labkit.widgets.Chatbox  # noqa: B018
