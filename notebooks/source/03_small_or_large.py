# %% [markdown]
# # 03 · Small or large?
#
# A small model is fast, cheap and private; a large one knows more. "Ask the small one first, and the large one when
# you must" sounds like free money: the guide promises that 70 to 80 % of the requests stay small, and that it gets
# 10 to 30 times cheaper. This lesson builds such a **router**, and measures when the promise holds.

# %%
import json
import re
import time

import matplotlib.pyplot as plt
import numpy as np

import labkit as lk
from labkit.agents.policies import always, confidence, cost_cap, first, private, rules
from labkit.agents.remote_tier import Breaker, StandIn
from labkit.agents.router_curve import Outcomes, compare
from labkit.agents.routing import Price, Router, Tier
from labkit.course import alt, check, plot_style, predict
from labkit.data import data_folder
from labkit.intervals import share_interval
from labkit.profiling import held_out
from labkit.table import Table

plot_style()
slm = lk.connect()

# %% [markdown]
# ## What is a small model good for?
# Six kinds of work, five tasks each, checked by a rule: the right value, class, number, word, call. For the last kind
# our model of 135 million parameters was trained (lesson 10 shows how); for the others it was not. Where will it do
# best, where worst?

# %%
tasks = json.loads((data_folder("questions") / "families.json").read_text(encoding="utf-8"))
tasks["know a fact"] = json.loads((data_folder("questions") / "facts.json").read_text(encoding="utf-8"))
tasks = {kind: some[:5] for kind, some in tasks.items()}
VALUE = {"type": "object", "required": ["value"], "properties": {"value": {"type": "string", "maxLength": 20}}}
CLASSES = {"enum": ["positive", "neutral", "negative"]}


def ask(kind, task):
    if "value" in task:
        words = f"{task['question']}\nWhat is the {task['value']}?"
        return slm.chat(words, schema=VALUE, max_tokens=40).parsed["value"]
    if kind.startswith("sort"):
        words = f"Is this review positive, neutral or negative? {task['question']}"
        return slm.chat(words, schema=CLASSES, max_tokens=10).parsed
    return slm.chat(task["question"], max_tokens=24).text


def is_right(answer, task):
    return any(re.search(rf"(?<![\w.]){re.escape(good)}(?!\w)", answer, re.IGNORECASE) for good in task["answers"])


# %% [markdown]
# Tool calls are asked for and checked in another way; `attempt` also keeps what the router below needs to know.

# %%
def attempt(case):
    """(right, confidence, usage) of the small model; a call that was cut is wrong."""
    try:
        with slm.stream(list(case.messages), tools=list(case.tools), max_tokens=100, parallel_tool_calls=True) as said:
            for _ in said:
                said.stop()  # words: no call will come, and what they say does not matter here
            reply = said.reply
    except lk.IncompleteOutput:
        return False, 0.0, lk.Usage()
    calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
    return case.right(calls), reply.confidence, reply.usage


guess = None  # the kind it does best: "know a fact", "think in two steps", "call a tool", …

right = {kind: [is_right(ask(kind, task), task) for task in some] for kind, some in tasks.items()}
right["call a tool"] = [attempt(case)[0] for case in held_out.load("desks", True, 5)]
predict("It does best at", guess, max(right, key=lambda kind: sum(right[kind])))
for kind, hits in sorted(right.items(), key=lambda pair: -sum(pair[1])):
    share, low, high = share_interval(sum(hits), len(hits))
    print(f"{kind:28} {sum(hits):2} of {len(hits)}   (95 %: {low:.0%} to {high:.0%})")

# %% [markdown]
# "Small models suit simple, structured work", says the guide. What is simple for us is not simple for it: it knows the
# capitals, which stand in a thousand texts, and cannot add. It does well what it was **trained** for. Five tasks say
# little about the exact share; see the intervals.

# %%
assert sum(right["call a tool"]) > sum(right["add two numbers"])
print(ask("think in two steps", tasks["think in two steps"][4]))

# %% [markdown]
# ## A router
# A router has two **tiers** and a **policy** that says whom to ask. A large model needs a network, and this lesson must
# run without one. So a *stand-in* takes its place: it looks answers up in an answer key, is wrong at a rate that we
# state, and takes as long as we state. Put a real one in its place with `lk.connect("openai", base_url=…, model=…)`.
#
# The requests are for tools of domains that our model has never seen. Prices are per million tokens read and
# written. They are an example: **put in your own**.

# %%
large = StandIn(held_out.answer_key("test"), error_rate=0.1, latency_s=0.0)
LARGE_PRICE = Price(read=0.40, written=1.60)    # dollars for a million tokens; your provider's price list
SMALL_PRICE = Price(read=0.004, written=0.04)   # electricity: 50 W, 1000 tokens/s read, 100 written, 0.30 a kWh
cloud, here = Tier(large, LARGE_PRICE, remote=True), Tier(slm, SMALL_PRICE)

cases = held_out.by_list("test", 6, 3)  # 6 lists of tools, 3 requests with each


def send(router, case, **more):
    return router.route(list(case.messages), tools=list(case.tools), max_tokens=100,
                        parallel_tool_calls=True, **more)


router = Router(here, cloud, confidence(0.8))
for case in (cases[0], cases[13]):
    print(case.messages[-1]["content"], "\n ", send(router, case), "\n")

# %% [markdown]
# `confidence(0.8)` is a **cascade**: the small model answers first, and says how sure it is (`reply.confidence`, the
# probability of the call that it wrote). Below 80 % the large one is asked. Policies can be put together; the first
# that has something to say decides.

# %%
def address(text):
    return "an e-mail address" if re.search(r"\S+@\S+\.\w+", text) else None


careful = first(private(address), cost_cap(0.50), rules({r"\bpoem|essay\b": "large"}), confidence(0.8))
router = Router(here, cloud, careful)
for request in ("Write a poem about rain.", "Write a poem for ada@example.org."):
    routed = router.route(request, max_tokens=24)
    print(f"{request:36} {routed.tier}: {routed.why}")
assert router.log[-1].tier == "small"

# %% [markdown]
# The second one matched the rule for poems, too. But what is private never leaves this machine: that policy comes
# first, and its decision is *final*. Not even a failure of the small model would send it away.
#
# ## When the large one is away
# Networks fail. A router asks again, and when that does not help the small model steps in: **degraded**, but not dumb.
# After some failures in a row a *circuit breaker* stops asking for a while. How long will five requests take, when a
# connection that fails costs 0.2 s?

# %%
guess = None  # seconds


class Unreachable:
    asked = 0

    def chat(self, conversation, **options):
        self.asked += 1
        time.sleep(0.2)
        raise lk.BackendUnavailable("No route to the cloud.")


gone = Unreachable()
router = Router(here, gone, always("large"), tries=1, breaker=Breaker(failures=2, rest_s=30))
began = time.perf_counter()
answers = [router.route("Say hello.", max_tokens=6) for _ in range(5)]
predict("Five requests", guess, round(time.perf_counter() - began, 2), "s")
print("asked the cloud:", gone.asked, "times, degraded answers:", router.report.degraded)
print(answers[-1].why)
assert gone.asked == 2 and router.report.degraded == 5

# %% [markdown]
# ## How good is the cascade?
# To judge a policy you need **outcomes**: what each model gets right, and how sure the small one was. We ask the small
# model all 18 requests (this takes a while); of the stand-in we know.

# %%
small_right, sure, usage = zip(*map(attempt, cases))
outcomes = Outcomes(small_right, [large.knows(case.messages[-1]["content"]) for case in cases])
print(f"right: small {outcomes.small.mean():.0%}, large {outcomes.large.mean():.0%}")

# %% [markdown]
# Now send away the least sure ones, one by one, and see how the share of right answers grows. A coin would give a
# straight line. An **oracle** that knows both answers is the best there can be. What is the least share of requests
# that must go to the large model to close half of the gap?

# %%
guess = None  # percent

lengths = [-len(case.messages[-1]["content"]) for case in cases]  # a rule of thumb: long ones are hard
found = compare(outcomes, {"confidence": sure, "length": lengths})
predict("To close half of the gap, sent away", guess, round(100 * found.curves["confidence"].cpt(0.5)), "%")
found

# %%
figure, axes = plt.subplots()
for name, curve in found.curves.items():
    axes.plot(100 * curve.shares, 100 * curve.quality, label=name, marker="")
axes.set(xlabel="sent to the large model, %", ylabel="right answers, %")
axes.legend()
half = {name: 100 * curve.quality[len(curve.quality) // 2] for name, curve in found.curves.items()}
alt(figure, "Right answers against the share sent to the large model, at half: "
    + "; ".join(f"{name} {quality:.0f} %" for name, quality in half.items())
    + f". From {100 * outcomes.small.mean():.0f} % to {100 * outcomes.large.mean():.0f} %.")

# %% [markdown]
# **APGR** is the area under such a curve: 0.5 for a coin, more is better; the table gives its 95 % interval. The
# cascade is better than a coin if that interval lies above 0.5. Compare it with the rule of thumb that long requests
# are hard, which costs nothing.

# %%
low, high = found.intervals["confidence"]
print(f"APGR of the cascade: {found.curves['confidence'].apgr:.2f}, 95 %: {low:.2f} to {high:.2f}")
assert found.curves["confidence"].apgr > 0.5

# %% [markdown]
# ## The promise: 70 to 80 % stay, 10 to 30 times cheaper
# At each threshold of confidence we know how many requests stay, what they cost, and how many are right. The small
# model answers every request first, so its cost is always there. A large model is not free of errors either.

# %%
small_cost = np.array([SMALL_PRICE.of(u) for u in usage])
large_cost = np.array([LARGE_PRICE.of(u) for u in usage])
sureness = np.array(sure)


def at(threshold):
    away = sureness < threshold
    quality = np.where(away, outcomes.large, outcomes.small).mean()
    return 1 - away.mean(), quality, large_cost.sum() / (small_cost.sum() + large_cost[away].sum())


levels = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.01)
rows = [(f"{level:.1f}", f"{stay:.0%}", f"{quality:.0%}", f"{cheaper:.1f} ×")
        for level in levels for stay, quality, cheaper in [at(level)]]
Table(("threshold", "stay small", "right", "cheaper than large only"), tuple(rows),
      note=f"large only: {outcomes.large.mean():.0%} right")

# %% [markdown]
# Read it as a bill. Cheaper by 10 or more is possible: when nearly everything stays small, with the small model's
# errors. What if you insist on being nearly as good as the large one alone, say within two points?

# %%
good_enough = [at(t) for t in np.linspace(0, 1, 201) if at(t)[1] >= outcomes.large.mean() - 0.02]
stay, quality, cheaper = max(good_enough)
print(f"stay small {stay:.0%}, right {quality:.0%}, {cheaper:.1f} × cheaper")
for claim, holds in (("70 % or more stay small", stay >= 0.7), ("10 × cheaper or more", cheaper >= 10)):
    print(f"{claim}: {'holds' if holds else 'does not hold'} here")

# %% [markdown]
# With *s* of the requests staying and a small model at almost no cost, it gets 1 / (1 − *s*) times cheaper: 5 × at
# 80 %. The guide's two figures contradict each other: for 10 × at least 90 % must stay.

# %%
for share in (0.7, 0.8, 0.9, 0.97):
    print(f"{share:.0%} stay: at most {1 / (1 - share):.1f} × cheaper")

# %% [markdown]
# ## Outcomes that others recorded
# Our stand-in is a toy. RouteLLM recorded what two real models, Mixtral-8x7B and GPT-4, got right on 15 361 questions;
# the course has these outcomes, without the questions. Can one route by the *subject* of a question alone? On one half
# of the questions we learn how often the small model is right in each subject; on the other half we route by it.

# %%
lines = (data_folder("routing") / "routellm.jsonl").read_text(encoding="utf-8").splitlines()
weak, strong, sure_by_subject, sure_by_length = [], [], [], []
rng = np.random.default_rng(0)
for part in map(json.loads, lines):
    bits = np.array([list(part["weak"]), list(part["strong"])]) == "1"
    learn = rng.random(bits.shape[1]) < 0.5
    weak += bits[0, ~learn].tolist()
    strong += bits[1, ~learn].tolist()
    sure_by_subject += [bits[0, learn].mean()] * int((~learn).sum())
    sure_by_length += (-np.array(part["words"])[~learn]).tolist()
recorded = compare(Outcomes(weak, strong), {"subject": sure_by_subject, "length": sure_by_length})
recorded

# %% [markdown]
# A subject tells more than a coin, but not much: it does not know which *question* is hard. A cascade does, because
# it has seen the answer. It pays for that with the small model's time on every request.
#
# ## Exercises
# **03.1** Write `worth_it(small_cost, large_cost, stay)`: how many times cheaper a cascade is than the large model
# alone, when `stay` (0 to 1) of the requests stay small. Every request costs `small_cost`; those that do not stay
# cost `large_cost` on top.

# %%
def worth_it(small_cost, large_cost, stay):
    # solution
    return large_cost / (small_cost + (1 - stay) * large_cost)
    # end
    #~ ...

# %%
check("03.1", worth_it)

# %% [markdown]
# **03.2** A policy is a function from a case to a decision, or `None`. Write `office_hours(hour)`: a policy that sends
# a request to `"large"` from 8 to 17 o'clock (17:59 counts) if its text has more than 200 characters, and else says
# nothing. `hour` is a function that gives the hour; use `Decision(tier, why)` and `case.text`.

# %%
from labkit.agents.policies import Decision


def office_hours(hour):
    # solution
    def decide(case):
        if 8 <= hour() <= 17 and len(case.text) > 200:
            return Decision("large", "long, and within office hours")
        return None
    return decide
    # end
    #~ ...

# %%
check("03.2", office_hours)

# %% [markdown]
# **03.3** Write `pgr(small, large, sent)`: the *performance gap recovered*. `small` and `large` are lists of truth
# values, a place a request; `sent` is the set of the places that go to the large model. It is the router's share of
# right answers minus the small model's, divided by the large model's minus the small model's.

# %%
def pgr(small, large, sent):
    # solution
    n = len(small)
    routed = sum(large[i] if i in sent else small[i] for i in range(n)) / n
    return (routed - sum(small) / n) / (sum(large) / n - sum(small) / n)
    # end
    #~ ...

# %%
check("03.3", pgr)

# %% [markdown]
# ## What you have seen
# - A small model does well what it was trained for. What is simple for us may be hard for it.
# - A router is a policy plus a plan for the day when the network is away. What is private comes first, and is final.
# - Measure a router by its curve, against a coin and an oracle, with an interval.
# - "Most stay small" and "much cheaper" are one claim, not two, and both depend on how many errors you accept.
