"""The explorer of levels, without a browser: what it shows, what a click does, what goes wrong."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.profiling.two_answers import Answer, TwoAnswers
from labkit.widgets import LevelChooser, LevelExplorer
from labkit.widgets.ladder import picture, words


def answered(question: str, one: str, other: str) -> TwoAnswers:
    if question == "fail":
        raise lk.ModelFileError("No room for it.")
    return TwoAnswers(question, Answer(one, ("In", " <Rome>"), 100.0), Answer(other, ("In", " Oslo"), None))


@pytest.fixture
def explorer(typed_ladder):
    return LevelExplorer(typed_ladder(), answered)


def test_it_shows_every_level_and_then_those_that_are_picked(explorer):
    assert all(f"{level:8}" in explorer.text() for level in ("F16", "Q8_0", "Q4_K_M", "Q4_0", "Q2_K"))
    explorer.levels.value = ("F16", "Q4_0")
    assert "Q8_0" not in explorer.text() and "Q8_0" not in explorer.html() and "Q4_0" in explorer.html()
    explorer.levels.value = ()
    assert explorer.html() and explorer.text() == ""


def test_both_answers_stand_side_by_side_with_the_difference_marked(explorer):
    pair = explorer.compare("F16", "Q4_0", "Where?")
    assert pair.parts_at == 1
    assert "<mark> &lt;Rome&gt;</mark>" in explorer.html() and "<mark> Oslo</mark>" in explorer.html()
    assert "part at token 2" in explorer.html() and "In▶ Oslo" in explorer.text()


def test_a_click_asks_in_the_background_and_an_error_is_shown(explorer):
    explorer.question.value = "fail"
    explorer.button.click()
    explorer.wait()
    assert "No room for it." in explorer.html() and not explorer.button.disabled
    explorer.question.value = " "
    explorer.button.click()
    explorer.wait()
    assert "Write a question first." in explorer.text()
    with pytest.raises(lk.LabkitError, match="No room for it"):
        explorer.compare("F16", "Q8_0", "fail")


def test_the_picture_has_units_and_words(typed_ladder):
    figure = picture(typed_ladder())
    assert [unit in axes.get_xlabel() for axes, unit in zip(figure.axes, ("MB", "nats", "tokens/s"))] == [True] * 3
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["F16", "Q8_0", "Q4_K_M", "Q4_0", "Q2_K"]
    told = words(typed_ladder())
    assert "Q4_0 92 MB, 0.220 nats, 200 tokens/s" in told and "both smaller and truer" in told


def test_the_chooser_follows_its_sliders(typed_ladder):
    chooser = LevelChooser(typed_ladder())
    assert chooser.choice.level == "Q4_K_M" and "<b>Q4_K_M</b>" in chooser.html() and "Q4_K_M" in chooser.text()
    chooser.quality.value = 0.95
    assert chooser.choice.level == "Q8_0" and "<b>Q8_0</b>" in chooser.children[-1].value
    chooser.ram.value = 100
    assert chooser.choice.level is None and "nothing fits" in chooser.children[-1].value


def test_a_device_sets_memory_and_bandwidth(typed_ladder):
    chooser = LevelChooser(typed_ladder(), "phone")
    assert chooser.ram.value == 3000 and chooser.bandwidth.value == pytest.approx(36, abs=0.5)
    assert "estimate: LPDDR5" in chooser.html()
    chooser.bandwidth.value = 30
    assert "as given" in chooser.html()
    before = chooser.choice.best.tokens_per_s
    chooser.device.value = "single-board computer"
    assert chooser.bandwidth.value == pytest.approx(12, abs=0.5) and chooser.choice.best.tokens_per_s < before / 2
