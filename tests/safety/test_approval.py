"""Approvals of a service: a call waits under an id until somebody decides."""
from __future__ import annotations

import time

import pytest

from labkit.errors import BadRequest
from labkit.safety import Pending, Refused, console
from labkit.safety.approval import ask


def waiting(pending):
    while not pending.waiting():
        time.sleep(0.005)
    return pending.waiting()[0]


@pytest.mark.parametrize("yes", [True, False])
def test_a_call_waits_for_a_decision(in_thread, yes):
    pending = Pending(wait_s=10)
    answer = in_thread(lambda: pending("refund", {"amount": 50}, "it cannot be undone"))
    question = waiting(pending)
    assert (question.tool, question.arguments, question.why) == ("refund", {"amount": 50}, "it cannot be undone")
    pending.decide(question.id, yes, by="eva")
    assert answer() is yes and not pending.waiting()


def test_a_second_decision_is_refused(in_thread):
    pending = Pending(wait_s=10)
    answer = in_thread(lambda: pending("refund", {}, ""))
    id = waiting(pending).id
    pending.decide(id, False, by="eva")
    with pytest.raises(BadRequest, match="decided, or its time is over"):
        pending.decide(id, True, by="max")
    assert answer() is False


def test_no_answer_is_a_no_and_the_id_is_gone():
    pending = Pending(wait_s=0.02)
    assert pending("refund", {}, "") is False
    with pytest.raises(BadRequest):
        pending.decide("unknown", True, by="eva")


def test_nobody_may_approve_their_own(in_thread):
    pending = Pending(wait_s=10, may=lambda by, question: by != question.arguments["from"])
    answer = in_thread(lambda: pending("refund", {"from": "anna"}, ""))
    id = waiting(pending).id
    with pytest.raises(Refused, match="anna may not decide"):
        pending.decide(id, True, by="anna")
    pending.decide(id, True, by="eva")
    assert answer() is True


def test_with_nobody_to_ask_the_answer_is_no():
    with pytest.raises(Refused, match="nobody is there"):
        ask(None, "refund", {}, "")


@pytest.mark.parametrize("typed, yes", [("yes", True), (" YES ", True), ("y", False), ("", False)])
def test_the_console_takes_only_yes(monkeypatch, typed, yes):
    shown = []
    monkeypatch.setattr("builtins.input", lambda prompt: shown.append(prompt) or typed)
    assert console("refund", {"amount": 50}, "it cannot be undone") is yes
    assert "refund(amount=50)" in shown[0] and "it cannot be undone" in shown[0]
