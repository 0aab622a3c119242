"""The report's page in a real Chromium: by day, by night, on a phone and on paper."""
from __future__ import annotations

import pytest

from labkit import report

LINES = """
{"request": "How many red cups are left?", "calls": [{"name": "cups_left", "arguments": {"colour": "red"}}]}
{"request": "Thank you, that is all!", "calls": []}
"""
PICTURES = """() => [...document.querySelectorAll('figure[role=img]')].map(figure => {
    const box = figure.querySelector('svg').getBoundingClientRect();
    return {alt: figure.getAttribute('aria-label'), width: box.width, height: box.height};
})"""
COLOURS = """() => ['body', 'figure svg text', 'td', '.tiles dd.note'].map(
    part => getComputedStyle(document.querySelector(part)).color)"""
PAPER = "() => getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def card(slm):
    def agent(slm):
        import labkit as lk

        def cups_left(colour: str) -> int:
            """How many cups of a colour are left.

            Args:
                colour: Colour of the cups, e.g. red.
            """
            return {"red": 4}[colour]
        return lk.Agent(slm, tools=[cups_left], max_tokens=30)
    return report.make(report.own("Cups", agent, LINES, slm=slm), skip=["crash", "checklist"])


@pytest.fixture
def shown(page, card):
    page.troubles = []
    page.on("console", lambda message: page.troubles.append(message.text))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.set_content(report.html(card, report.grade(card.to_dict())))
    return page


def luminance(colour: str) -> float:
    """0 to 1, of "rgb(r, g, b)"."""
    return sum(int(part) for part in colour[4:-1].split(",")) / (3 * 255)


def test_pictures_are_there_with_words_and_nothing_is_loaded(shown, pictures):
    drawn = shown.evaluate(PICTURES)
    assert len(drawn) == 4 and all(one["alt"] and one["width"] > 300 and one["height"] > 80 for one in drawn)
    assert shown.get_by_role("heading", name="Cups").is_visible()
    assert shown.troubles == [] and shown.outside == []
    shown.screenshot(path=pictures / "report_page.png", full_page=True)


@pytest.mark.parametrize("scheme, media, paper", [("light", "screen", 1), ("dark", "screen", 0), ("dark", "print", 1)])
def test_it_can_be_read_by_day_by_night_and_on_paper(shown, scheme, media, paper):
    shown.emulate_media(color_scheme=scheme, media=media)
    ground = luminance(shown.evaluate(PAPER))
    assert abs(ground - paper) < 0.15
    assert all(abs(luminance(colour) - ground) > 0.4 for colour in shown.evaluate(COLOURS))


def test_on_a_phone_nothing_sticks_out(shown):
    shown.set_viewport_size({"width": 380, "height": 800})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 380
