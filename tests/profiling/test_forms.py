"""The forms of the embedded model, measured on the real files with small counts. No time is asserted."""
from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from labkit.errors import LabkitError
from labkit.models.embedded import WHEEL_BYTES
from labkit.profiling import bench, forms


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def found(steps, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(bench, "PROMPT", 16)
    patch.setattr(bench, "ANSWER", 4)
    patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    yield forms.run(lambda *step: steps.append(step), asked=2, window=40, repetitions=2)
    patch.undo()


def test_three_forms_of_the_same_weights(found):
    assert [form.name for form in found.forms] == ["F16", "Q8_0", "Q4_1"]
    f16, q8, q4 = (form.file_bytes for form in found.forms)
    assert q4 == WHEEL_BYTES and q4 < q8 < f16
    assert q8 / f16 == pytest.approx(8.5 / 16, rel=0.02)  # bits per weight; the vocabulary is the rest
    assert all(len(form.prefill.values) == len(form.decode.values) == 2 for form in found.forms)


def test_f16_is_the_reference_and_the_others_drift_a_little(found):
    assert set(found["F16"].kl) == {0.0} and found["F16"].same_top == 1.0
    for name in ("Q8_0", "Q4_1"):
        assert 0 < found[name].kl_mean < 0.1 and found[name].same_top > 0.5


def test_f16_knows_the_capital_of_france(found):
    assert "Paris" in found["F16"].answers[0]
    assert found.questions == 2 and all(len(form.answers) == 2 for form in found.forms)
    facts = forms.questions()[:2]
    for form in found.forms:
        assert form.right == sum(forms.is_right(text, fact["answers"])
                                 for text, fact in zip(form.answers, facts, strict=True))


def test_nothing_stays_on_the_disk(found):
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_progress_counts_to_the_end(found, steps):
    assert [done for done, _, _ in steps] == list(range(9)) and steps[-1][:2] == (8, 8)


def test_it_shows_itself(found):
    text, markdown = str(found), found._repr_markdown_()
    assert "KL to F16, nats" in text and "right of 2" in text and "| Q4_1 | 98.4 MB |" in markdown
    assert found.to_dict()["forms"][1]["kl_mean"] == found["Q8_0"].kl_mean


@pytest.mark.parametrize(("text", "answers", "right"), [
    ("The capital is Paris.", ["Paris"], True), ("PARIS", ["paris"], True),
    ("It is a comparison.", ["Paris"], False), ("18 legs", ["8"], False), ("eight (8) legs", ["8"], True),
    ("It takes in carbon dioxide.", ["carbon dioxide", "CO2"], True),
    ("The formula is H₂O.", ["H2O", "H₂O"], True),
    ("", ["Paris"], False)])
def test_an_answer_is_right_when_it_stands_as_a_word(text, answers, right):
    assert forms.is_right(text, answers) is right


def test_questions_that_are_not_there_are_said_to_be_missing(monkeypatch, tmp_path):
    assert len(forms.questions()) == 30
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(LabkitError, match="LABKIT_DATA"):
        forms.questions()
