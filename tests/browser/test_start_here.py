"""A learner's first minutes: JupyterLab opens lesson 00, runs it, chats, and shows a plot."""
from __future__ import annotations

import time
from itertools import pairwise

from driving import CELLS, ERRORS, HEIGHT, SHOW, bring_into_view, open_notebook, run_all

NOTEBOOK = "00_start_here.ipynb"
QUESTION = "Tell me a short story about a red fox."

def watch_answer(page, picture) -> list[str]:
    """What the last answer said at each look, until it is complete."""
    turn, seen = page.locator(".lk-turn.lk-model").last, []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        said = turn.locator(".lk-said").inner_text().rstrip("▍ \n")
        if said and (not seen or said != seen[-1]):
            seen.append(said)
            if len(seen) == 3:
                page.screenshot(path=picture)
        if turn.get_attribute("aria-busy") == "false":
            return seen
        page.wait_for_timeout(40)
    raise AssertionError(f"the answer did not end within two minutes: {seen[-1:]}")


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
