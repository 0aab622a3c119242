"""A learner's first minutes: JupyterLab opens lesson 00, runs it, chats, and shows a plot.

The notebook's model is read through JupyterLab's own application object, because cells that are
out of sight are not in the page. Clicks and keys are real.
"""
from __future__ import annotations

import time
from itertools import pairwise

NOTEBOOK = "00_start_here.ipynb"
QUESTION = "Tell me a short story about a red fox."

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
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook", timeout=60_000)
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=60_000)


def run_all(page):
    """By the menu, as a learner does. Stored outputs go first: what is seen then is this run's."""
    page.evaluate(CLEAR)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(IDLE, timeout=120_000)


def bring_into_view(page, locator):
    """Scroll from cell to cell until `locator` is in the page."""
    for index in range(page.evaluate(COUNT)):
        if locator.count():
            break
        page.evaluate(SHOW, index)
        page.wait_for_timeout(100)
    locator.first.scroll_into_view_if_needed()
    return locator.first


def watch_answer(page, picture) -> list[str]:
    """What the last answer said at each look, until it is complete."""
    turn, seen = page.locator(".lk-turn.lk-model").last, []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = turn.locator(".lk-said").inner_text().rstrip("▍ \n")
        if said and (not seen or said != seen[-1]):
            seen.append(said)
            if len(seen) == 3:
                page.screenshot(path=picture)
        if turn.get_attribute("aria-busy") == "false":
            return seen
        page.wait_for_timeout(40)
    raise AssertionError(f"the answer did not end within a minute: {seen[-1:]}")


def test_a_learners_first_minutes(page, lab, pictures):
    open_notebook(page, lab, NOTEBOOK)
    page.screenshot(path=pictures / "00_opened.png")
    run_all(page)
    assert page.evaluate(ERRORS) == []
    ran = [cell for cell in page.evaluate(CELLS) if "".join(cell["source"]).strip()]
    assert ran and all(cell["execution_count"] for cell in ran)

    plot = bring_into_view(page, page.locator(".jp-OutputArea img[src^='data:image/png']"))
    assert plot.evaluate("image => image.complete && image.naturalWidth") > 200
    page.screenshot(path=pictures / "00_plot.png")

    entry = bring_into_view(page, page.get_by_placeholder("Ask something"))
    turns = page.locator(".lk-turn.lk-model").count()
    entry.click()
    entry.press_sequentially(QUESTION, delay=5)
    entry.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('.lk-turn.lk-model').length > n", arg=turns)
    looks = watch_answer(page, pictures / "00_chat_streaming.png")
    assert page.locator(".lk-turn.lk-you").last.inner_text().endswith(QUESTION)
    assert len(looks) > 2 and all(later.startswith(sooner) for sooner, later in pairwise(looks))
    page.screenshot(path=pictures / "00_chat.png")

    page.set_viewport_size({"width": 1280, "height": min(int(page.evaluate(HEIGHT)) + 120, 14_000)})
    page.evaluate(SHOW, 0)
    page.wait_for_timeout(500)
    page.screenshot(path=pictures / "00_whole.png")
    assert page.outside == []  # nothing asked for an address outside this machine
