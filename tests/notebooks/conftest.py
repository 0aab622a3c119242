"""The rules for notebooks that nbval runs; see labkit.course.nbval_plugin."""
from __future__ import annotations

from labkit.course import nbval_plugin


def pytest_configure(config):
    if not config.pluginmanager.is_registered(nbval_plugin):  # `-p` or the root's conftest may have loaded it
        config.pluginmanager.register(nbval_plugin)
