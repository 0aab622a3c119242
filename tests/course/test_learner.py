"""What a learner sees and what is kept of it."""
from __future__ import annotations

import json

import numpy as np
import pytest

from labkit.course import build, check, hint, learner, predict, progress, solution
from labkit.course.card import Card, Table
from labkit.course.guess import compare
from labkit.course.record import Record


def test_check_prints_and_remembers(example_exercises, own_progress, capsys):
    check("90.1", None)
    assert "90.1 not done yet" in capsys.readouterr().out
    assert not own_progress.exists()
    check("90.1", lambda x: x)
    out = capsys.readouterr().out
    assert "90.1 not yet" in out and "Tried: x = 2. Expected 4, got 2." in out and 'hint("90.1")' in out
    check("90.1", lambda x: 2 * x)
    assert "✓ 90.1 passed" in capsys.readouterr().out
    entry = json.loads(own_progress.read_text(encoding="utf-8"))["exercises"]["90.1"]
    assert entry["tries"] == 2 and len(entry["passed"]) == 10


def test_hint_and_progress(example_exercises, capsys):
    hint("90.1")
    hint("90.7")
    check("90.1", lambda x: 2 * x)
    check("90.2", [3, 2, 1])
    capsys.readouterr()
    progress()
    out = capsys.readouterr().out
    assert "Your progress: 1 passed" in out and "tried 1×" in out and "✓ passed" in out


def test_unknown_hint_and_solution_say_what_there_is(example_exercises, capsys):
    hint("90.7")
    solution("90.7")
    assert capsys.readouterr().out.count("This lesson has 90.1, 90.2.") == 2


def test_solution_from_notebook_then_from_source(example_exercises, lesson, capsys):
    solution("90.1")
    from_source = capsys.readouterr().out
    build.build(lesson)
    lesson.source.unlink()
    solution("90.1")
    assert "return 2 * x" in from_source and "#~" not in from_source
    assert capsys.readouterr().out == from_source
    lesson.solved.write_text("{", encoding="utf-8")
    solution("90.1")
    assert "The solution of 90.1 is not here" in capsys.readouterr().out


def test_solution_without_the_notebooks(example_exercises, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_NOTEBOOKS", str(tmp_path / "nowhere"))
    solution("90.1")
    assert "set LABKIT_NOTEBOOKS" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"exercises": []}', '{"exercises": {"90.1": 3}}',
                                  '{"exercises": {"90.1": {"tries": "x"}}}', "\x00\xff"])
def test_a_corrupt_file_is_told_once_and_left_alone(example_exercises, own_progress, capsys, text):
    own_progress.parent.mkdir(parents=True)
    own_progress.write_bytes(text.encode("latin-1"))
    check("90.1", lambda x: 2 * x)
    check("90.1", lambda x: 2 * x)
    out = capsys.readouterr().out
    assert out.count("Progress is not being saved") == 1 and out.count("passed") == 2
    assert own_progress.read_bytes() == text.encode("latin-1")
    progress()
    assert "✓ passed" in capsys.readouterr().out  # in memory it goes on


def test_a_place_that_cannot_be_written(example_exercises, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "file" / "home"))
    check("90.1", lambda x: 2 * x)
    check("90.1", lambda x: 2 * x)
    out = capsys.readouterr().out
    assert out.count("Progress is not being saved") == 1 and out.count("✓ 90.1 passed") == 2


def test_two_kernels_do_not_lose_each_others_work(own_progress):
    one, two = Record(own_progress), Record(own_progress)
    one.note("01.1", tries=1)
    two.note("01.2", tries=1)
    one.note("01.1", tries=1)
    assert Record(own_progress).entries() == {"01.1": {"tries": 2}, "01.2": {"tries": 1}}
    assert list(own_progress.parent.iterdir()) == [own_progress]  # no stray temporary file


def test_a_headless_run_writes_no_progress(example_exercises, own_progress, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "memory")
    learner._record.cache_clear()
    check("90.1", lambda x: 2 * x)
    assert not own_progress.exists()


@pytest.mark.parametrize("guess, measured, said", [
    (100, 100, "exactly"), (100, 105, "very close"), (100, 140, "close"), (50, 131, "right order"),
    (10, 90, "some way off"), (1, 131, "far off"), (0, 5, "not quite"), (-1, 5, "not quite"),
    ("50", 131, "right order"), (np.int64(100), np.float32(105), "very close"),
    ("Q8_0", "q8_0 ", "as you said"), ("Q4", "Q8", "not what"),
    (None, 5, "no guess yet"), (..., 5, "no guess yet"), (True, 5, "not what"), (float("nan"), 5, "not what"),
])
def test_predict_is_kind_and_right(guess, measured, said):
    assert said in str(compare("speed", guess, measured, "tokens/s"))


def test_predict_says_how_far_off(capsys):
    predict("tokens per second", 50, 131, unit="tokens/s")
    out = capsys.readouterr().out
    assert "Measured: 131 tokens/s" in out
    assert "Off by 81 tokens/s: the measurement is 2.62 times the guess." in out


def test_html_is_escaped_and_complete():
    html = Card("a < b", ["<script>"], code="x < y")._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "x &lt; y" in html
    table = Table("c", ["Lesson", "1"], [["01", "<b>"]])
    assert "&lt;b&gt;" in table._repr_html_() and 'scope="row"' in table._repr_html_()


def test_a_terminal_without_unicode_still_prints(example_exercises, monkeypatch):
    import io
    import sys
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    check("90.1", lambda x: 2 * x)
    stream.flush()
    assert b"90.1 passed." in stream.buffer.getvalue()
