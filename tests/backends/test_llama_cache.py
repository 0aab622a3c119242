"""The shared KV cache: what it saves, and that it never changes an answer."""
from __future__ import annotations

import gc

import pytest

import labkit as lk
from labkit.backends import llama_engine
from labkit.backends.llama_cpp import LlamaCpp
from labkit.models.llama import library

STORY = "Tell me a story about a dragon."


@pytest.fixture(scope="module")
def small():
    """A model with a small context of its own, soon full."""
    return lk.connect(context_length=512)


def greedy(engine, tokens: list[int]) -> int:
    return engine.evaluate(tokens, 0, lambda logits: int(logits.argmax()))[0]


def fresh_answers(prompts, **options) -> list[str]:
    """Each answer by an engine that has seen nothing else."""
    texts = []
    for prompt in prompts:
        model = lk.connect(context_length=513)
        texts.append(model.chat(prompt, **options).text)
        del model
        gc.collect()
    return texts


# -- what it saves -------------------------------------------------------------------------


def test_a_second_turn_reads_only_what_is_new(slm):
    messages = [{"role": "user", "content": "What is the capital of Norway, and what is it known for?"}]
    first = slm.chat(messages, max_tokens=40)
    messages += [first.message, {"role": "user", "content": "And of Sweden?"}]
    second = slm.chat(messages, max_tokens=4)
    known = first.usage.prompt_tokens + first.usage.completion_tokens
    assert second.usage.cached_tokens >= known - 2  # the answer's text may split differently at its end
    new = second.usage.prompt_tokens - second.usage.cached_tokens
    assert new <= second.usage.prompt_tokens - known + 2


def test_the_same_prompt_again_reads_one_token(slm):
    prompt = "Which planets have rings?"
    slm.chat(prompt, max_tokens=2)
    usage = slm.chat(prompt, max_tokens=2).usage
    assert usage.cached_tokens == usage.prompt_tokens - 1


def test_requests_share_their_instructions(slm):
    def ask(question):
        return slm.chat([{"role": "system", "content": "You are a guide to the harbour of Bergen. " * 8},
                         {"role": "user", "content": question}], max_tokens=2).usage
    ask("Where are the boats?")
    usage = ask("When does the fish market open?")
    assert usage.cached_tokens > 80


def test_what_sequences_share_is_counted_once(slm, monkeypatch):
    """So six short endings over one long beginning stay, where six times the beginning would not."""
    monkeypatch.setattr(llama_engine, "HELD", 250)

    def ask(animal):
        return slm.chat([{"role": "system", "content": "You are a keeper in the zoo of Bergen. " * 12},
                         {"role": "user", "content": f"Where is the {animal}?"}], max_tokens=2).usage
    animals = ("fox", "owl", "hen", "cow", "pig", "cat")
    assert sum(ask(animal).prompt_tokens for animal in animals) > 3 * llama_engine.HELD
    again = [ask(animal) for animal in animals]
    assert all(usage.cached_tokens == usage.prompt_tokens - 1 for usage in again)


def test_answers_in_progress_keep_their_own(slm, monkeypatch):
    """However little is kept of those that are over."""
    monkeypatch.setattr(llama_engine, "HELD", 40)
    animals = ("fox", "owl", "hen")
    streams = [slm.stream(f"Tell me a story about a {animal}.", max_tokens=30) for animal in animals]
    engine, evaluated = slm.backend.engine, []
    real = engine._decode
    engine._decode = lambda slot, tokens, **more: (evaluated.append(len(tokens)), real(slot, tokens, **more))
    try:
        for stream in streams:
            next(stream)
        evaluated.clear()
        for _ in range(8):
            for stream in streams:
                next(stream)
    finally:
        del engine._decode
        for stream in streams:
            stream.stop()
            stream.reply  # noqa: B018
    assert set(evaluated) == {1}  # no step read more than the token before it


# -- that it changes no answer -------------------------------------------------------------


def test_more_conversations_than_slots(small, same_answers):
    prompts = [f"What is {n} + {n}?" for n in range(llama_engine.SLOTS + 4)]
    first = [small.chat(prompt, max_tokens=4).text for prompt in prompts]
    same_answers(small, prompts, [small.chat(prompt, max_tokens=4).text for prompt in prompts], first)
    same_answers(small, prompts[:3], first[:3], fresh_answers(prompts[:3], max_tokens=4))


def test_more_live_streams_than_slots(small, same_answers):
    prompts = [f"Name {n} animals." for n in range(2, llama_engine.SLOTS + 5)]
    alone = [small.chat(prompt, max_tokens=3).text for prompt in prompts]
    streams = [small.stream(prompt, max_tokens=3) for prompt in prompts]
    texts = ["" for _ in streams]
    for _ in range(3):
        for i, stream in enumerate(streams):
            texts[i] += next(stream, "")
    whole = [text + "".join(stream) for text, stream in zip(texts, streams, strict=True)]
    same_answers(small, prompts, whole, alone)


def test_a_full_cache_makes_room(small, same_answers):
    """Four half-read answers over prompts that together need three contexts."""
    prompts = [f"Number {n}. " * 90 + "Which number was that?" for n in range(4)]
    alone = fresh_answers(prompts[:2], max_tokens=4)
    streams = [small.stream(prompt, max_tokens=4) for prompt in prompts]
    started = [next(stream) for stream in streams]
    texts = [text + "".join(stream) for text, stream in zip(started, streams, strict=True)]
    same_answers(small, prompts[:2], texts[:2], alone)
    same_answers(small, prompts, texts, [small.chat(prompt, max_tokens=4).text for prompt in prompts])


def test_an_answer_can_fill_the_context_to_its_last_cell(small):
    prompt = "word " * (small.capabilities.context_tokens - 60)
    reply = small.chat(prompt, max_tokens=400)
    assert reply.finish_reason in ("length", "stop")
    assert reply.usage.prompt_tokens + reply.usage.completion_tokens <= small.capabilities.context_tokens + 1
    assert "Paris" in small.chat("What is the capital of France?").text


def test_random_turns_agree_with_fresh_engines(small):
    """Shared, cut, evicted and resumed prefixes in one go; each answer equals an untouched engine's."""
    engine = small.backend.engine
    words = engine.tokenize("the cat sat on a mat and the dog ran to a river of red stones " * 16)
    cases = [words[:40], words[:200], words[:40] + words[100:120], words[3:90], words[:201], words[:39],
             words[50:250], words[:40] + words[100:140], words[:200], words[:40]]
    engine.score(words[:60], words[60:90])
    got = [greedy(engine, tokens) for tokens in cases]
    for tokens, token in zip(cases, got, strict=True):
        untouched = LlamaCpp(context_length=514).engine
        assert greedy(untouched, tokens) == token
        del untouched
        gc.collect()


def test_slots_never_claim_more_than_the_cache_holds(small):
    engine = small.backend.engine
    small.chat(STORY, max_tokens=8)
    small.backend.loglikelihood([([{"role": "user", "content": STORY}], "Once upon a time")] * 2)
    small.chat([{"role": "user", "content": STORY}] * 3, max_tokens=2)
    for slot in engine._slots:
        assert engine.c.llama_memory_seq_pos_max(engine._memory, slot.seq) + 1 >= len(slot.tokens)


def test_an_answer_that_is_over_owns_nothing(small):
    assert small.chat(STORY, max_tokens=3).text
    with small.stream(STORY, max_tokens=9) as stream:
        next(stream)
        assert any(slot.owner for slot in small.backend.engine._slots)
    assert not any(slot.owner for slot in small.backend.engine._slots)


# -- long prompts --------------------------------------------------------------------------


def test_a_stop_is_heard_while_a_long_prompt_is_read(slm):
    stream = slm.stream("It rained and rained again. " * 600, max_tokens=50)
    slm.on_chunk.append(lambda chunk: stream.stop())
    try:
        reply = stream.reply
    finally:
        slm.on_chunk.pop()
    assert reply.finish_reason == "cancelled" and reply.text == "" and reply.usage.completion_tokens == 0
    held = max(len(slot.tokens) for slot in slm.backend.engine._slots)
    assert held < reply.usage.prompt_tokens


def test_a_long_prompt_read_in_steps_is_the_prompt_read_at_once(slm):
    text = "".join(f"Line {n} says {n * 7 % 31}. " for n in range(62))
    tokens = slm.backend.prompt_tokens([{"role": "user", "content": text}])
    assert len(tokens) > llama_engine.BATCH
    reply = slm.chat(text, max_tokens=1)
    token = greedy(LlamaCpp(context_length=2048).engine, tokens)
    assert reply.text == slm.backend.engine.piece(token).decode()


# -- interrupts ----------------------------------------------------------------------------

CALLS = ("llama_decode", "llama_memory_seq_rm", "llama_memory_seq_cp")


class Interrupting:
    """llama_cpp, but one call on the cache is interrupted: before it takes effect, or after."""

    def __init__(self, at: int, early: bool):
        self.left, self.early = at, early

    def __getattr__(self, name):
        function = getattr(library(), name)
        return (lambda *args: self.call(function, *args)) if name in CALLS else function

    def call(self, function, *args):
        self.left -= 1
        if self.left == 0 and self.early:
            raise KeyboardInterrupt
        result = function(*args)
        if self.left == 0:
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize("early", [True, False])
def test_an_interrupt_at_any_step_of_the_cache_does_no_harm(early):
    engine = LlamaCpp(context_length=256).engine
    prompts = [engine.tokenize(f"{word} " * 30) for word in ("one", "two")]
    wide = engine.tokenize("wide " * 300)[:250]  # needs nearly every cell: nothing may be left behind
    right, interrupted = [greedy(engine, tokens) for tokens in (*prompts, wide)], 0
    for at in range(1, 10):
        engine.c = Interrupting(at, early)
        try:
            for tokens in (prompts[0] + wide[:90], prompts[1], prompts[0][:9] + prompts[1]):
                greedy(engine, tokens)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            engine.c = library()
        assert [greedy(engine, tokens) for tokens in (*prompts, wide)] == right
    assert interrupted >= 8
