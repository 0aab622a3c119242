"""What every backend does: plain answers, streams, options, counts, cancelling, threads."""
from __future__ import annotations

import asyncio
import threading

import pytest

import labkit as lk

QUESTION = "What is the capital of France?"
STORY = "Tell me a story about a dragon."


def test_a_question_is_answered(model):
    reply = model.chat(QUESTION)
    assert "Paris" in reply.text
    assert reply.finish_reason == "stop" and reply.tool_calls == [] and reply.parsed is None


def test_a_stream_is_the_same_answer_in_pieces(model):
    stream = model.stream(STORY, max_tokens=40)
    pieces = list(stream)
    whole = model.chat(STORY, max_tokens=40)
    assert len(pieces) > 10
    assert "".join(pieces) == stream.reply.text == whole.text
    assert stream.reply.finish_reason == whole.finish_reason == "length"


def test_instructions_and_history_count(model):
    messages = [{"role": "user", "content": "My name is Hildegard."},
                {"role": "assistant", "content": "Hello Hildegard, nice to meet you."},
                {"role": "user", "content": "Repeat my name."}]
    remembered = model.chat(messages, max_tokens=24)
    alone = model.chat(messages[-1:], max_tokens=24)  # whether the name comes is a matter of the weights
    assert remembered.text != alone.text and remembered.usage.prompt_tokens > alone.usage.prompt_tokens + 20
    user = {"role": "user", "content": "What are you called?"}
    told = [{"role": "system", "content": "You are a pirate. You say Aye."}, user]
    assert model.chat(told, max_tokens=24).text != model.chat([user], max_tokens=24).text


def test_developer_is_system_and_text_parts_are_text(model):
    system, user = "You answer briefly.", [{"type": "text", "text": "What is the capital "},
                                           {"type": "text", "text": "of France?"}]
    a, b = ([{"role": role, "content": system}, {"role": "user", "content": content}]
            for role, content in (("system", QUESTION), ("developer", user)))
    assert model.chat(a, max_tokens=12).text == model.chat(b, max_tokens=12).text


# -- options -------------------------------------------------------------------------------


def test_temperature_0_repeats_whatever_the_seed(model):
    texts = {model.chat(STORY, max_tokens=24, seed=seed).text for seed in (None, 0, 1)}
    assert len(texts) == 1


def test_a_seed_repeats_and_another_differs(model):
    def sampled(seed, **options):
        return model.chat(STORY, max_tokens=24, temperature=1.0, seed=seed, **options).text
    assert sampled(7) == sampled(7)
    assert len({sampled(seed) for seed in range(4)}) > 1
    assert sampled(7, top_p=0.8) == sampled(7, top_p=0.8)


def test_a_tiny_top_p_or_temperature_is_greedy(model):
    greedy = model.chat(STORY, max_tokens=16).text
    assert model.chat(STORY, max_tokens=16, temperature=1.0, top_p=1e-9, seed=1).text == greedy
    assert model.chat(STORY, max_tokens=16, temperature=1e-50, seed=1).text == greedy


def test_max_tokens_ends_the_answer(model):
    reply = model.chat(STORY, max_tokens=5)
    assert reply.finish_reason == "length" and reply.usage.completion_tokens == 5
    assert model.chat(STORY, max_tokens=1).usage.completion_tokens == 1


@pytest.mark.parametrize("cut", [slice(4, 5), slice(10, 14), slice(25, 45)])
def test_a_stop_string_ends_the_answer_and_is_not_shown(model, cut):
    whole = model.chat(STORY, max_tokens=40).text
    stop = whole[cut]
    stream = model.stream(STORY, max_tokens=40, stop=stop)
    shown = "".join(stream)
    assert shown == stream.reply.text == whole[:whole.index(stop)]
    assert stream.reply.finish_reason == "stop"


def test_the_first_of_several_stop_strings_counts_and_one_that_never_comes_does_not(model):
    whole = model.chat(STORY, max_tokens=40).text
    stops = [whole[30:36], whole[12:17], "never said"]
    assert model.chat(STORY, max_tokens=40, stop=stops).text == whole[:min(map(whole.index, stops[:2]))]
    assert model.chat(STORY, max_tokens=40, stop="never said").text == whole


# -- counts and times ----------------------------------------------------------------------


def test_usage_counts(model):
    reply = model.chat(QUESTION)
    assert reply.usage.prompt_tokens > model.count_tokens(QUESTION)
    assert reply.usage.completion_tokens == model.count_tokens(reply.text)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    longer = model.chat(QUESTION + " Say it again." * 5, max_tokens=1)
    assert longer.usage.prompt_tokens - reply.usage.prompt_tokens == model.count_tokens(" Say it again." * 5)


def test_usage_counts_what_a_stop_or_a_cancel_cut_off(model):
    prompt_tokens = model.chat(STORY, max_tokens=1).usage.prompt_tokens
    stopped = model.chat(STORY, max_tokens=40, stop=" ").usage
    assert stopped.prompt_tokens == prompt_tokens and 0 < stopped.completion_tokens < 40
    stream = model.stream(STORY, max_tokens=40)
    next(stream)
    stream.stop()
    assert stream.reply.usage.prompt_tokens == prompt_tokens and stream.reply.usage.completion_tokens >= 1


def test_timing_is_in_order(model):
    timing = model.chat(STORY, max_tokens=12).timing
    times = [at for at, _ in timing.arrivals]
    assert times == sorted(times) and 0 < timing.ttft_s == times[0] and timing.total_s == times[-1]
    assert sum(count for _, count in timing.arrivals) == 12
    assert timing.tpot_s == pytest.approx((timing.total_s - timing.ttft_s) / 11)
    assert timing.tokens_per_s == pytest.approx(1 / timing.tpot_s)


def test_observers_see_every_chunk(model):
    seen = []
    model.on_chunk.append(seen.append)
    try:
        reply = model.chat(STORY, max_tokens=10)
    finally:
        model.on_chunk.remove(seen.append)
    assert "".join(chunk.text for chunk in seen) == reply.text
    assert sum(chunk.tokens for chunk in seen) == reply.usage.completion_tokens


# -- ending early --------------------------------------------------------------------------


def test_break_leaves_a_model_that_works(model, works):
    for _ in model.stream(STORY, max_tokens=200):
        break
    works()


def test_a_broken_off_stream_can_be_read_on(model):
    whole = model.chat(STORY, max_tokens=30).text
    stream = model.stream(STORY, max_tokens=30)
    first = next(stream)
    assert first + "".join(stream) == whole == stream.reply.text


def test_stop_ends_the_answer_where_it_is(model, works):
    whole = model.chat(STORY, max_tokens=60).text
    stream, shown = model.stream(STORY, max_tokens=60), ""
    for piece in stream:
        shown += piece
        if len(shown) > 20:
            stream.stop()
    assert stream.reply.finish_reason == "cancelled"
    assert stream.reply.text == shown and whole.startswith(shown) and len(shown) < len(whole)
    works()


def test_stop_before_the_first_token_gives_no_token(model, works):
    stream = model.stream(STORY, max_tokens=60)
    stream.stop()
    assert list(stream) == [] and stream.reply.finish_reason == "cancelled"
    works()


def test_leaving_the_with_block_ends_the_answer(model, works):
    with model.stream(STORY, max_tokens=60) as stream:
        shown = next(stream)
    assert list(stream) == []
    assert stream.reply.text == shown and stream.reply.finish_reason == "cancelled"
    works()


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_an_exception_between_pieces_leaves_a_model_that_works(model, works, error):
    with pytest.raises(type(error)), model.stream(STORY, max_tokens=60) as stream:
        next(stream)
        raise error
    works()


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_an_exception_within_a_step_leaves_a_model_that_works(model, works, error):
    def fail(chunk):
        raise error
    model.on_chunk.append(fail)
    try:
        with pytest.raises(type(error)):
            model.chat(STORY, max_tokens=60)
    finally:
        model.on_chunk.remove(fail)
    works()


def test_a_half_cancelled_call_or_value_is_no_result(model, works):
    tool = {"name": "say", "parameters": {"properties": {"text": {"type": "string"}}, "required": ["text"]}}
    cases = [{"schema": {"type": "string", "minLength": 60}}]
    if not model.capabilities.tools:  # else a call comes whole or not at all
        cases += [{"tools": [tool], "tool_choice": "required", "grounded": False}]
    for asked in cases:
        stream = model.stream(STORY, **asked)
        model.on_chunk.append(lambda chunk, stream=stream: stream.stop())
        try:
            reply = stream.reply
        finally:
            model.on_chunk.pop()
        assert reply.finish_reason == "cancelled" and reply.tool_calls == [] and reply.parsed is None
    works()


# -- more than one at a time ---------------------------------------------------------------


def test_two_threads_get_the_answers_they_would_get_alone(model, in_thread, same_answers):
    prompts = [QUESTION, STORY, "Name three colours.", "What is water made of?"]
    alone = [model.chat(prompt, max_tokens=20).text for prompt in prompts]
    together = [in_thread(lambda p=prompt: model.chat(p, max_tokens=20).text) for prompt in prompts]
    same_answers(model, prompts, [result() for result in together], alone)


def test_a_stream_stopped_from_another_thread(model, works):
    stream = model.stream(STORY, max_tokens=400)
    first, stopper = next(stream), threading.Timer(0.05, stream.stop)
    stopper.start()
    rest = list(stream)
    stopper.join()
    assert stream.reply.finish_reason == "cancelled" and stream.reply.text == first + "".join(rest)
    works()


def test_a_half_read_stream_goes_on_undisturbed_after_other_calls(model, same_answers):
    alone = model.chat(STORY, max_tokens=30).text
    stream = model.stream(STORY, max_tokens=30)
    text = "".join(next(stream) for _ in range(5))
    between = [model.chat(question, max_tokens=8).text for question in (QUESTION, STORY)]
    other = model.stream(STORY, max_tokens=30)
    others = next(other)
    text += next(stream)
    others += next(other)
    same_answers(model, [STORY, STORY], [text + "".join(stream), others + "".join(other)], [alone, alone])
    again = [model.chat(question, max_tokens=8).text for question in (QUESTION, STORY)]
    same_answers(model, [QUESTION, STORY], between, again)


def test_achat_leaves_the_event_loop_free(model, expected):
    async def both():
        ticks, answer = 0, asyncio.ensure_future(model.achat(QUESTION, max_tokens=8))
        while not answer.done():
            await asyncio.sleep(0.005)
            ticks += 1
        return ticks, answer.result()
    ticks, reply = asyncio.run(both())
    assert reply.text == expected and ticks > 1


def test_cancelling_achat_stops_the_generation(model, works):
    chunks = []
    async def cancelled():
        task = asyncio.ensure_future(model.achat(STORY, max_tokens=400))
        while not chunks:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    model.on_chunk.append(chunks.append)
    try:
        asyncio.run(cancelled())  # ends when the worker thread does
    finally:
        model.on_chunk.remove(chunks.append)
    assert sum(chunk.tokens for chunk in chunks) < 400
    works()


# -- length --------------------------------------------------------------------------------


def test_a_long_prompt_is_read_to_its_end(model):
    filler = "The sky was grey and nothing happened. " * 100
    reply = model.chat(f"{filler}\nMy cat is called Mirabel. What is my cat called?", max_tokens=16)
    assert "Mirabel" in reply.text and reply.usage.prompt_tokens > 700


def test_a_prompt_beyond_the_context_names_both_lengths(model, works):
    limit = model.capabilities.context_tokens
    with pytest.raises(lk.ContextFull, match=rf"has \d+ tokens.* holds {limit}") as caught:
        model.chat("word " * (limit + 10))
    assert caught.value.prompt_tokens > limit == caught.value.context_tokens
    works()


def test_a_reply_goes_back_as_a_message(model):
    reply = model.chat(QUESTION, max_tokens=16)
    assert reply.message == {"role": "assistant", "content": reply.text}
    again = model.chat([{"role": "user", "content": QUESTION}, reply.message,
                        {"role": "user", "content": "And of Italy?"}], max_tokens=12)
    assert "Rome" in again.text
