"""The dashboard in a real browser: it draws what happens in the cells after it, and its buttons work."""
from __future__ import annotations

from driving import ERRORS, bring_into_view, open_source, run_all

NOTEBOOK = "dashboard.ipynb"
SOURCE = """
# %%
import httpx
import labkit as lk
from labkit.serving.background import serve_in_background
from labkit.serving.watch import Watch
from labkit.widgets import Dashboard

server = serve_in_background(lk.connect(), watch=Watch(every_s=0.2))
Dashboard(server, every_s=0.2)

# %%
body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
for _ in range(3):
    httpx.post(f"{server.base_url}/v1/chat/completions", json=body, timeout=60)
"""


def test_it_draws_what_happens_and_stops(page, lab, pictures):
    open_source(page, lab, NOTEBOOK, SOURCE)
    run_all(page)
    assert page.evaluate(ERRORS) == []
    page.wait_for_function("() => document.querySelector('.lk-dash')?.innerText.includes('3 ok')")
    assert page.locator(".lk-dash .lk-panel").count() == 8
    assert page.locator(".lk-dash svg polyline").count() >= 8
    bring_into_view(page, page.get_by_role("button", name="Stop").first).click()
    page.wait_for_timeout(300)
    page.locator(".lk-dash").first.scroll_into_view_if_needed()
    page.screenshot(path=pictures / "dashboard.png")
    assert page.outside == []
