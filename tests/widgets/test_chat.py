"""The chat, driven as a learner does: through its text box and its buttons."""
from __future__ import annotations

import json

import pytest

from labkit.errors import BackendUnavailable, BadRequest
from labkit.widgets import ChatBox

VIEW = "application/vnd.jupyter.widget-view+json"


def type_and_send(box, text):
    box.entry.value = text
    box.send_button.click()


def press_enter(box, text):
    """What the browser sends: the key first, then the text."""
    box.entry._handle_custom_msg({"event": "submit"}, [])
    box.entry.value = text


def shown(box):
    """The HTML of the conversation's live widgets."""
    return "".join(view.value for view in box._log.children)


def test_the_model_answers_and_the_footer_says_what_it_cost(slm):
    box = ChatBox(slm, max_tokens=24)
    type_and_send(box, "What is the capital of France?")
    assert box.entry.value == ""
    box.wait()
    assert box.messages[0] == {"role": "user", "content": "What is the capital of France?"}
    assert "Paris" in box.messages[1]["content"] and "Paris" in shown(box)
    assert "tokens/s" in shown(box) and "first after" in shown(box)


def test_the_conversation_goes_along(slm):
    box = ChatBox(slm, "You are brief.", max_tokens=8)
    box.ask("My name is Ada.")
    box.ask("What is my name?")
    assert [m["role"] for m in box.messages] == ["system", "user", "assistant", "user", "assistant"]


def test_the_request_holds_instructions_history_and_limit(scripted):
    slm = scripted("fine")
    box = ChatBox(slm, "Be brief.", max_tokens=7)
    box.ask("one")
    box.ask("two")
    request = slm.backend.requests[-1]
    assert [m["content"] for m in request.messages] == ["Be brief.", "one", "fine", "two"]
    assert request.max_tokens == 7


def test_stop_interrupts_the_generation_and_the_model_stays_usable(slm, until):
    box = ChatBox(slm, max_tokens=2000)
    type_and_send(box, "Write a very long story about a lighthouse keeper and the sea.")
    until(lambda: box._turns[-1].text)
    box.stop_button.click()
    box.wait()
    assert "stopped" in shown(box)
    assert slm.chat("What is the capital of France?", max_tokens=16).text


def test_an_endless_answer_is_stopped_and_kept(scripted, until):
    slm = scripted("It goes ", None)
    box = ChatBox(slm)
    type_and_send(box, "Go on.")
    until(lambda: "on and" in box._turns[-1].text)
    assert box.busy and box.send_button.disabled and not box.stop_button.disabled
    box.stop_button.click()
    box.wait()
    assert not box.busy and slm.backend.closed == 1
    assert box.messages[-1]["content"].startswith("It goes on and")
    assert not box.send_button.disabled and box.stop_button.disabled


def test_a_second_message_meanwhile_is_refused_kindly(scripted, until):
    box = ChatBox(scripted(None))
    type_and_send(box, "first")
    type_and_send(box, "second")
    assert "still answering" in box._notice.value
    assert box.entry.value == "second"  # what was typed is not lost
    with pytest.raises(BadRequest, match="still answering"):
        box.ask("third")
    box.stop_button.click()
    box.wait()
    assert [turn.text for turn in box._turns if turn.kind == "you"] == ["first"]


def test_markup_is_shown_and_not_run(scripted):
    box = ChatBox(scripted("<script>alert", "(1)</script>"), "<img src=x>")
    box.ask("<b>bold</b>")
    everything = shown(box) + box.html() + box.children[0].value
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown(box)
    assert not any(tag in everything for tag in ("<script", "<img", "<b>bold"))


def test_text_that_no_screen_can_show_still_shows(scripted):
    box = ChatBox(scripted("a\x00b\x1b[31m"))
    box.ask("half \ud83d emoji")
    json.dumps(box._repr_mimebundle_(), ensure_ascii=False).encode("utf-8")
    assert "a\N{REPLACEMENT CHARACTER}b" in box.text() and "\x1b" not in box.text()


@pytest.mark.parametrize("error, sentence", [
    (BackendUnavailable("The engine has stopped. Connect again."), "The engine has stopped. Connect again."),
    (RuntimeError("boom"), "Unexpected RuntimeError: boom"),
])
def test_an_error_in_mid_answer_is_a_sentence_and_the_chat_goes_on(scripted, error, sentence):
    slm = scripted("It was a dark and ", error)
    box = ChatBox(slm)
    box.ask("Tell me.")
    assert sentence in shown(box) and "Traceback" not in shown(box)
    assert "It was a dark and" in shown(box)
    assert box.messages == [] and not box.busy
    slm.backend.pieces = ("Fine again.",)
    box.ask("And now?")
    assert box.messages[-1]["content"] == "Fine again."


def test_a_full_context_says_to_press_clear(slm):
    box = ChatBox(slm, max_tokens=4)
    type_and_send(box, "word " * 20_000)
    box.wait()
    assert "tokens, the context holds" in shown(box) and "press Clear" in shown(box)
    box.clear_button.click()
    box.ask("Hello")
    assert len(box.messages) == 2


def test_clear_forgets_and_stops(scripted, until):
    box = ChatBox(scripted("so ", None), "Be brief.")
    type_and_send(box, "one")
    until(lambda: box._turns[-1].text)
    box.clear_button.click()
    box.wait()
    assert box.messages == [{"role": "system", "content": "Be brief."}]
    assert box._log.children == () and "Nothing has been asked" in box.text()


def test_enter_sends_when_the_text_comes_after_the_key(scripted):
    box = ChatBox(scripted("yes"))
    press_enter(box, "typed")
    box.wait()
    assert box.messages[0]["content"] == "typed" and box.entry.value == ""


def test_enter_sends_text_that_was_there_before(scripted, until):
    box = ChatBox(scripted("yes"))
    box.entry.value = "left and came back"
    assert box.messages == []  # leaving the box is not sending
    box.entry._handle_custom_msg({"event": "submit"}, [])
    until(lambda: len(box.messages) == 2)


def test_an_empty_message_is_not_sent(scripted):
    box = ChatBox(scripted("never"))
    type_and_send(box, "   ")
    assert "Write a message" in box._notice.value and not box._log.children
    with pytest.raises(BadRequest, match="empty"):
        box.ask("")


def test_the_controls_are_named_for_screen_readers(scripted):
    box = ChatBox(scripted())
    assert box.entry.description == "Message"
    buttons = (box.send_button, box.stop_button, box.clear_button)
    assert [b.description for b in buttons] == ["Send", "Stop", "Clear"] and all(b.tooltip for b in buttons)


def test_what_is_stored_is_readable_without_widgets(scripted):
    box = ChatBox(scripted("Hello ", "there."))
    box.ask("Hi")
    bundle = box._repr_mimebundle_()
    assert bundle[VIEW]["model_id"] == box.model_id
    assert bundle["text/plain"] == repr(box) and "You: Hi\nModel: Hello there.\n" in bundle["text/plain"]
    assert "Hello there." in bundle["text/html"]


def test_interrupting_the_kernel_stops_the_answer(scripted, monkeypatch):
    box = ChatBox(scripted(None))
    box.ask("Go", wait=False)
    thread = box._thread

    def interrupted(timeout):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(thread, "join", interrupted)
        box.wait()
    box.wait()
    assert not box.busy
