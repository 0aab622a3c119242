"""The levels' explorer and chooser and the agent builder, clicked in a real browser."""
from __future__ import annotations

from driving import ERRORS, bring_into_view, open_source, run_all

NOTEBOOK = "widgets.ipynb"
SOURCE = """
# %%
import labkit as lk
from labkit.profiling import ladder
from labkit.widgets import AgentBuilder, LevelChooser, LevelExplorer

found = ladder.run(levels=("F16", "Q4_0"), sample=ladder.Sample(repetitions=1, prompt=32, answer=4))
LevelExplorer(found)

# %%
LevelChooser(found)

# %%
def order_status(order_id: str) -> str:
    \"\"\"Status of an order. Args: order_id: like A-1042.\"\"\"
    return f"Order {order_id} was shipped on Monday."


AgentBuilder([order_status], slm=lk.connect())
"""


def shot(page, pictures, name):
    page.wait_for_timeout(300)
    page.screenshot(path=pictures / f"{name}.png")


def test_levels_and_builder_are_clicked(page, lab, pictures):
    open_source(page, lab, NOTEBOOK, SOURCE)
    run_all(page)
    assert page.evaluate(ERRORS) == []

    bring_into_view(page, page.get_by_role("button", name="Ask both")).click()
    page.wait_for_selector(".lk-levels .lk-two", timeout=120_000)
    assert "Paris" in page.locator(".lk-answer").first.inner_text()
    page.get_by_label("Levels").first.select_option("Q4_0")
    page.wait_for_function("() => document.querySelectorAll('.lk-levels table tr').length === 2")
    shot(page, pictures, "levels")

    device = bring_into_view(page, page.get_by_label("Device"))
    told = page.locator(".widget-html", has_text="about").last
    here = told.inner_text()
    device.select_option("phone")
    page.wait_for_function("([node, old]) => node.innerText !== old", arg=[told.element_handle(), here])
    shot(page, pictures, "chooser")

    request = bring_into_view(page, page.get_by_label("Request"))
    request.fill("Where is my order A-1042?")
    page.locator(".jupyter-button", has_text="Run").click()
    page.wait_for_selector(".lk-trace", timeout=120_000)
    assert "order_status" in page.locator(".lk-trace").inner_text()
    page.locator(".jupyter-button", has_text="Export").click()
    page.get_by_text("Written:").wait_for(timeout=60_000)
    assert (lab.folder / "my_agents" / "my_agent.yaml").is_file()
    shot(page, pictures, "builder")
    assert page.outside == []
