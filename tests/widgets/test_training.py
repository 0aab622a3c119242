"""The view of a training run, fed with the events that train_lora.py writes."""
from __future__ import annotations

from labkit.widgets import TrainingView

EVENTS = ({"event": "step", "step": 5, "of": 20, "loss": 1.5, "seconds": 10.0, "progress": 0.25},
          {"event": "step", "step": 10, "of": 20, "loss": 0.5, "seconds": 20.0, "progress": 0.5},
          {"event": "valid", "step": 10, "loss": 0.4567, "right": 0.25, "seconds": 20.0})


def test_it_tells_how_far_it_is_and_what_comes_of_it():
    view = TrainingView()
    assert "loading" in view.text()
    for event in EVENTS:
        view(event)
    assert "step 10, loss 0.500, about 20 s left" in view.text() and "0.457 at step 10, 25%" in view.text()
    assert 'aria-label="Training loss"' in view.html() and view.children[0].value == view.html()
    view({"event": "done", "step": 20, "best": 0.4, "seconds": 41.2})
    assert "done: 20 steps in 41 s" in repr(view) and view.losses == [1.5, 0.5]


def test_what_went_wrong_is_said():
    view = TrainingView()
    view({"event": "nan", "step": 3})
    assert "nan at step 3" in view.text()
