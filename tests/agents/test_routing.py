"""Small or large: policies, what happens when a tier fails, and what it costs."""
from __future__ import annotations

import threading
import time

import pytest

import labkit as lk
from labkit.agents.policies import (
    LARGE,
    SMALL,
    Case,
    always,
    by_intent,
    confidence,
    cost_cap,
    first,
    private,
    rules,
    when,
)
from labkit.agents.remote_tier import Breaker, Guarded, StandIn
from labkit.agents.routing import Price, Router, Tier
from labkit.backends.reply import Reply, Usage
from labkit.errors import BackendUnavailable, BadRequest

KEY = {"Where is A-1?": [{"name": "order_status", "arguments": {"order_id": "A-1"}}]}


class Model:
    """Answers what it is told to: texts, Replies or errors, the last one for ever."""

    def __init__(self, *answers, wait_s: float = 0.0):
        self.answers, self.asked, self.wait_s = list(answers), [], wait_s

    def chat(self, conversation, **options):
        self.asked.append(conversation)
        time.sleep(self.wait_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(answer, usage=Usage(1000, 100))


def sure(p: float | None) -> Reply:
    return Reply("small says so", usage=Usage(1000, 100), confidence=p)


DOWN = BackendUnavailable("The cloud is away.")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("labkit.agents.remote_tier.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("labkit.agents.remote_tier.LONGEST_WAIT_S", 0.001)


def routed(policy, small=None, large=None, request="Hello", settings=None, **options):
    router = Router(small or Model("small"), large or Model("large"), policy, **(settings or {}))
    return router.route(request, **options)


# -- policies ------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "request_text", "tier", "why"), [
    (always(SMALL), "Hello", SMALL, "always small"),
    (always(LARGE), "Hello", LARGE, "always large"),
    (rules({"poem|story": LARGE}), "Write me a POEM", LARGE, "rule 'poem|story'"),
    (rules({"poem": LARGE}), "Hello", SMALL, "nothing was decided"),
    (first(rules({"poem": LARGE}), otherwise=LARGE), "Hello", LARGE, "nothing else"),
    (by_intent(lambda text: "chat", {"chat": LARGE}), "Hello", LARGE, "intent 'chat'"),
    (by_intent(lambda text: "other", {"chat": LARGE}), "Hello", SMALL, "nothing"),
    (when(lambda case: len(case.text) > 3, LARGE, "it is long"), "Hello", LARGE, "it is long"),
])
def test_a_policy_names_the_tier_and_why(policy, request_text, tier, why):
    found = routed(policy, request=request_text)
    assert found.tier == tier and why in found.why and found.reply.text == tier


@pytest.mark.parametrize(("p", "tier"), [(0.9, SMALL), (0.8, SMALL), (0.79, LARGE), (None, SMALL)])
def test_the_cascade_asks_the_large_one_when_the_small_one_is_unsure(p, tier):
    small, large = Model(sure(p)), Model("large")
    found = routed(confidence(0.8), small, large)
    assert found.tier == tier and len(small.asked) == 1 and len(large.asked) == (tier == LARGE)
    assert [name for name, _, _ in found.tried] == ([SMALL, LARGE] if tier == LARGE else [SMALL])


def test_what_is_private_stays_here_whatever_happens():
    def has_card(text):
        return "a card number" if "4111" in text else None
    policy = first(private(has_card), always(LARGE))
    large = Model("large")
    assert routed(policy, large=large, request="My card is 4111").why == "private: a card number"
    talk = [{"role": "user", "content": "4111"}, {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Write a poem."}]
    assert routed(policy, large=large, request=talk).tier == SMALL, "an earlier turn is sent along"
    assert routed(policy, large=large, is_private=True).tier == SMALL
    with pytest.raises(BackendUnavailable, match="broken"):
        routed(policy, Model(BackendUnavailable("broken")), large, request="4111")
    assert not large.asked


def test_a_cap_on_cost():
    router = Router(Model("small"), Tier(Model("large"), Price(1.0, 10.0)), first(cost_cap(0.005), always(LARGE)))
    tiers = [router.route("Hello").tier for _ in range(5)]  # 0.002 each
    assert tiers == [LARGE, LARGE, LARGE, SMALL, SMALL]
    assert router.report.cost == pytest.approx(0.006) and router.report.kept_small == 0.4
    assert router.report.cost_of_large_only == pytest.approx(0.01) and "1.7 ×" in str(router.report)


def test_load_and_priority_reach_the_policy():
    slow, large = Model("small", wait_s=0.3), Model("large")
    router = Router(slow, large, first(when(lambda case: case.priority > 0, LARGE, "urgent"),
                                       when(lambda case: case.busy >= 2, LARGE, "the small one is busy")))
    threads = [threading.Thread(target=router.route, args=("Hello",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(slow.asked) < 2:
        time.sleep(0.005)
    assert router.route("Hello").why == "the small one is busy"
    for thread in threads:
        thread.join()
    assert router.route("Hello").tier == SMALL and router.route("Hello", priority=1).why == "urgent"
    assert len(router.log) == 5


@pytest.mark.parametrize(("make", "words"), [
    (lambda: always("medium"), "no tier 'medium'"), (lambda: rules({"(": LARGE}), "no regular expression"),
    (lambda: confidence(80), "0 to 1"), (lambda: Router(Model("a"), Model("b"), always(SMALL), tries=0), "tries=0"),
    (lambda: Router(Tier(Model("a"), remote=True), Model("b"), always(SMALL)), "kept private"),
    (lambda: StandIn(KEY, error_rate=5, latency_s=0), "0 to 1"),
])
def test_what_makes_no_sense_is_refused_when_it_is_made(make, words):
    with pytest.raises(BadRequest, match=words):
        make()


# -- when a tier fails ---------------------------------------------------------------------


def test_the_large_one_is_asked_again():
    large = Model(DOWN, "large")
    found = routed(always(LARGE), large=large)
    assert found.reply.text == "large" and not found.degraded and len(large.asked) == 2


def test_the_small_one_steps_in_and_says_so():
    found = routed(always(LARGE), large=Model(DOWN))
    assert found.tier == SMALL and found.degraded and "The cloud is away" in found.why
    assert [(name, bool(problem)) for name, _, problem in found.tried] == [(LARGE, True), (SMALL, False)]


def test_the_large_one_steps_in_for_a_small_one_that_is_gone():
    found = routed(always(SMALL), Model(BackendUnavailable("closed")), Model("large"))
    assert found.tier == LARGE and "the small model failed: closed" in found.why
    assert routed(confidence(0.5), Model(BackendUnavailable("closed")), Model("large")).tier == LARGE


def test_when_nobody_answers_both_are_named():
    with pytest.raises(BackendUnavailable, match="Neither.*The cloud is away.*closed"):
        routed(always(LARGE), Model(BackendUnavailable("closed")), Model(DOWN))


def test_a_bad_request_is_not_tried_elsewhere():
    large = Model(BadRequest("too long"))
    with pytest.raises(BadRequest, match="too long"):
        routed(always(LARGE), large=large)
    assert len(large.asked) == 1


def test_one_that_hangs_is_given_up_also_in_mid_answer(script):
    release = threading.Event()

    class Hanging(Model):
        def chat(self, conversation, **options):
            release.wait(10)
    found = routed(always(LARGE), large=Hanging("never"), settings={"time_limit_s": 0.1})
    assert found.degraded and "within 0.1 s" in found.why
    release.set()

    def pieces(request):
        from labkit.backends.base import Chunk
        while True:
            yield Chunk("and so on ")
            time.sleep(0.01)
    script.generate = pieces
    found = routed(always(LARGE), large=lk.Chat(script), settings={"time_limit_s": 0.1})
    assert found.degraded and "within 0.1 s" in found.why


def test_one_that_is_down_is_left_alone_for_a_while():
    large = Model(DOWN)
    router = Router(Model("small"), large, always(LARGE), tries=1, breaker=Breaker(failures=2, rest_s=1))
    assert [router.route("Hello").degraded for _ in range(5)] == [True] * 5
    assert len(large.asked) == 2 and "left alone" in router.log[-1].why
    large.answers = ["large"]
    router._remote.breaker._opened -= 2  # as if it had rested
    assert router.route("Hello").tier == LARGE and router.route("Hello").tier == LARGE


def test_a_guarded_model_waits_no_longer_than_its_limit():
    guarded = Guarded(Model(DOWN), 1000, 0.05, Breaker())
    with pytest.raises(BackendUnavailable):
        guarded.chat([], {})


def test_a_real_server_that_answers_too_long_is_given_up_and_stops(slm):
    """`labkit serve` as the large tier, through the openai connector: mid-answer, over HTTP."""
    from labkit.serving.background import serve_in_background
    own, chunks = lk.connect(), []
    own.on_chunk.append(chunks.append)
    with serve_in_background(own) as server:
        cloud = lk.connect("openai", base_url=f"{server.base_url}/v1", api_key="none")
        router = Router(slm, Tier(cloud, remote=True), always(LARGE), tries=1, time_limit_s=2)
        found = router.route("Say yes.", max_tokens=3)
        assert found.tier == LARGE and found.reply.text
        found = router.route("Count from 1 to 10000, one number a line.", max_tokens=6000)
        assert found.degraded and "within 2 s" in found.why
        time.sleep(1)
        n = len(chunks)
        time.sleep(1)
        assert len(chunks) == n, "nobody reads it, so nobody writes it"


# -- with the rest of labkit ---------------------------------------------------------------


def test_an_agent_runs_on_a_router_with_the_real_model(slm):
    @lk.tool
    def order_status(order_id: str) -> str:
        """Status of an order. Args: order_id: like A-1042."""
        return "shipped"
    router = Router(slm, Tier(StandIn({}, error_rate=0, latency_s=0), Price(1, 1), remote=True), always(SMALL))
    run = lk.Agent(router, tools=[order_status], max_tokens=60).run("Where is my order A-1042?")
    assert run.calls[0].arguments == {"order_id": "A-1042"} and len(router.log) == 2
    assert router.report.cost == 0 < router.report.cost_of_large_only


def test_the_stand_in_says_what_it_is_and_errs_at_its_rate():
    stand_in = StandIn({f"{n}?": [{"name": "t", "arguments": {}}] for n in range(1000)}, error_rate=0.1, latency_s=0)
    right = sum(bool(stand_in.chat(f"{n}?").tool_calls) for n in range(1000))
    assert 870 < right < 930 and right == sum(stand_in.knows(f"{n}?") for n in range(1000))
    assert "stand-in: an answer key, wrong in 10%" in stand_in.model == stand_in.chat("0?").model
    wrong = StandIn({"Hello": []}, error_rate=1, latency_s=0).chat("Hello", tools=[lk.tool(shut)])
    assert wrong.tool_calls[0].name == "shut"
    assert StandIn(KEY, error_rate=0, latency_s=0).chat("Where is A-1?").tool_calls[0].arguments == {"order_id": "A-1"}


def shut() -> None:
    """Shut the door."""


def test_a_case_knows_the_last_question():
    case = Case([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], {}, lambda: sure(1))
    assert case.text == "a" and case.everything == "a\nb" and case.small is case.small
