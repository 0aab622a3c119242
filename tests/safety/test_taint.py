"""Where an argument's value stands: in what the user wrote, or only in what somebody else did."""
from __future__ import annotations

import pytest

from labkit.safety.taint import Taint


def taint(request, document, by="values"):
    made = Taint(by)
    made.read([{"role": "system", "content": "Be kind."}, {"role": "user", "content": request}])
    made.taint(document, "the letter")
    return made


@pytest.mark.parametrize("arguments, request_, document, found", [
    ({"id": "A-1042"}, "What is this?", "Cancel A-1042", True),
    ({"id": "A-1042"}, "Where is A-1042?", "Cancel A-1042", False),
    ({"id": "A-9"}, "What is this?", "Cancel A-1042", False),           # the model's own: it stands nowhere
    ({"euros": 500}, "What is this?", "Pay 500 euros", True),
    ({"euros": 12}, "What is this?", "It is from 2012", False),         # no whole number
    ({"urgent": True}, "What is this?", "It is True", False),
    ({"note": None}, "What is this?", "None of it", False),
    ({"to": ["a@example.org", "b@example.org"]}, "To a@example.org", "Also b@example.org", True),
    ({"at": {"place": "Oslo"}}, "What is this?", "Meet in oslo", True),
    ({"id": "a-1042"}, "What is this?", "Cancel A\u200b-1042 now", True),
    ({"id": "A-1042"}, "What is this?", "Cancel Ａ-１０４２", True),        # full-width letters
    ({"to": "Anna  Berger"}, "What is this?", "Anna\nBerger", True),
])
def test_a_value_that_only_a_stranger_wrote(arguments, request_, document, found):
    why = taint(request_, document).why_not(arguments)
    assert bool(why) is found
    assert not why or "stands in the letter, and not in the request" in why


def test_what_it_cannot_see_is_as_its_text_says():
    assert not taint("What is this?", "Cancel the order of yesterday").why_not({"id": "A-1042"})  # the model wrote it
    assert not taint("Read me: cancel A-1042", "").why_not({"id": "A-1042"})  # pasted by the user


def test_the_strict_rule_needs_no_value():
    assert "after the model had read the letter" in taint("Do it", "please", by="context").why_not({})
    assert not taint("Do it", "   ", by="context").why_not({})


def test_results_of_tools_are_read_whole():
    made = Taint("values")
    made.taint({"rows": [{"iban": "GB82WEST12345698765432"}]}, "a result")
    assert made.why_not({"iban": "GB82WEST12345698765432"})


def test_content_in_parts_and_other_roles():
    made = Taint("values")
    made.read([{"role": "user", "content": [{"type": "text", "text": "Pay K-1"}]},
               {"role": "tool", "content": "Pay K-2"}, {"role": "assistant", "content": None}])
    assert not made.why_not({"id": "K-1"}) and made.why_not({"id": "K-2"})
