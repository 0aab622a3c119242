"""JupyterLab as a learner drives it: open a notebook, run it, find something in it.

The notebook's model is read through JupyterLab's own application object, because cells that are
out of sight are not in the page. Clicks and keys are real.
"""
from __future__ import annotations

import jupytext
import nbformat

CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === 'code').map(cell => cell.model.toJSON())"""
IDLE = """() => {
    const panel = window.jupyterapp.shell.currentWidget, kernel = panel.sessionContext.session?.kernel;
    const cells = panel.content.widgets.filter(
        c => c.model.type === 'code' && c.model.sharedModel.source.trim());
    return kernel?.status === 'idle' && cells.every(c => c.model.executionCount !== null
        && c.model.executionState !== 'running');
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.widgets.flatMap(cell =>
    (cell.model.toJSON().outputs ?? []).filter(output => output.output_type === 'error'))"""
CLEAR = "() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')"
SHOW = "i => window.jupyterapp.shell.currentWidget.content.scrollToItem(i, 'center')"
COUNT = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
HEIGHT = """() => [...document.querySelectorAll('.jp-WindowedPanel-outer')]
    .reduce((tall, part) => Math.max(tall, part.scrollHeight), 0)"""


def open_notebook(page, lab, name):
    page.goto(lab.url(name))
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook", timeout=120_000)
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=120_000)


def open_source(page, lab, name, source):
    """Write a notebook from its text form, and open it."""
    notebook = jupytext.reads(source, "py:percent")
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}  # else JupyterLab asks for one
    nbformat.write(notebook, lab.folder / name)
    open_notebook(page, lab, name)


def run_all(page):
    """By the menu, as a learner does. Stored outputs go first: what is seen then is this run's."""
    page.evaluate(CLEAR)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(IDLE, timeout=300_000)  # for what hangs, not for a slow machine


def bring_into_view(page, locator):
    """Scroll from cell to cell until `locator` is in the page."""
    for index in range(page.evaluate(COUNT)):
        if locator.count():
            break
        page.evaluate(SHOW, index)
        page.wait_for_timeout(100)
    locator.first.scroll_into_view_if_needed()
    return locator.first
