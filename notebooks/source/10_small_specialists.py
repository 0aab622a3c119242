# %% [markdown]
# # 10 · Small specialists
#
# In lesson 02 a constraint made every call of our model valid, and still half of them were wrong. The rest has to
# be learned. The claim of this lesson: *a small model that is trained for one task beats a larger one that is not.*
# You measure one that was trained for nearly two hours, and then train it on, in about a minute, for a desk of your
# own.

# %%
import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import labkit as lk
from labkit.agents.deciding import decided
from labkit.course import HATCHES, alt, check, needs, plot_style, predict
from labkit.data import data_folder
from labkit.models import adapter_file
from labkit.models.adapter import Settings
from labkit.models.environments import environment
from labkit.profiling import held_out
from labkit.specialise import specialise
from labkit.tools import examples, trained
from labkit.tools.feedback import Feedback
from labkit.widgets import TrainingView

plot_style()
plain = lk.connect(adapter=None)   # the model as it is
can_train = needs(training=lambda: environment("workshop").why_not() or True, stop=False,
                  how="The lesson goes on with the adapter that came with the course.")

# %% [markdown]
# ## Your desk
# You run a bicycle workshop. Three tools, and nobody has ever trained a model on them.

# %%
@lk.tool
def book_repair(bike: str, problem: str, day: str) -> str:
    """Book a repair.

    Args:
        bike: which bicycle
        problem: what is broken
        day: day of the week
    """

# %%
@lk.tool
def order_part(part: str, quantity: int, express: bool = False) -> str:
    """Order a spare part.

    Args:
        part: which part
        quantity: how many
        express: whether it must come tomorrow
    """


@lk.tool
def repair_status(ticket: str) -> str:
    """Say how far a repair is.

    Args:
        ticket: number of the repair
    """


tools = [book_repair, order_part, repair_status]

# %% [markdown]
# What customers say, as sentences with gaps, and what fills the gaps. Two ways to ask for each tool are **held
# back**: the model will be tested on sentences that it never saw.

# %%
VALUES = {
    "bike": ["red tandem", "cargo bike", "old racer", "folding bike", "blue city bike", "kids' bike"],
    "problem": ["flat tyre", "broken spoke", "loose chain", "squeaking brake", "bent wheel"],
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
    "part": ["inner tube", "brake pad", "saddle", "pedal", "bell", "rear light", "chain link"],
    "quantity": list(range(2, 40)), "ticket": [f"R-{n}" for n in range(1000, 9999, 7)],
}
SEEN = {
    "book_repair": ["My {bike} has a {problem}. Can I bring it on {day}?",
                    "{bike}, {problem}, {day} please", "Book a repair for the {bike} on {day}: {problem}.",
                    "On {day} I'd like you to mend a {problem} on my {bike}."],
    "order_part": ["Order {quantity} of the {part}.", "{part}, {quantity} pieces",
                   "We need {quantity} more {part}s, please order them.", "Get me {quantity} x {part}."],
    "repair_status": ["How far is {ticket}?", "Is repair {ticket} done?", "status {ticket}",
                      "I'm asking about my bike, number {ticket}."],
    None: ["Thanks, see you!", "Do you sell helmets?", "What a lovely shop!",
           "How often should I oil a chain?"],
}
HELD_BACK = {
    "book_repair": ["There's a {problem} on the {bike}, is {day} possible?",
                    "Please put my {bike} down for {day}, it has a {problem}."],
    "order_part": ["Could you order {quantity} pieces of {part}?",
                   "No {part} left on the shelf. Buy {quantity}."],
    "repair_status": ["Any news about {ticket}?", "Can I collect {ticket} yet?"],
    None: ["Is cycling good for the knees?", "Good morning!"],
}

# %% [markdown]
# From these a few lines make as many **examples** as you like. An example is a request and the calls that are right.
# No calls: the right answer is words.

# %%
def example(name, sentence, rng):
    values = {key: rng.choice(choices) for key, choices in VALUES.items()}
    wanted = [key for key in values if "{" + key + "}" in sentence]
    calls = [{"name": name, "arguments": {key: values[key] for key in wanted}}] if name else []
    for call in calls:   # in the order of the tool's parameters
        order = list(next(tool for tool in tools if tool.name == name).parameters["properties"])
        call["arguments"] = {key: call["arguments"][key] for key in order if key in call["arguments"]}
    return sentence.format(**values), calls


def make_examples(sentences, n, seed):
    rng = random.Random(seed)
    pairs = [(name, text) for name, texts in sentences.items() for text in texts]
    return [example(*pairs[i % len(pairs)], rng) for i in range(n)]


test = make_examples(HELD_BACK, 24, seed=1)
for request, calls in test[:7:2]:
    print(request, "\n   ", calls)

# %% [markdown]
# How many of these 24 does the untrained model get right, under labkit's constraint? It may also answer in words.
# `decided` breaks them off after the first one: that it speaks instead of calling is all that counts here.

# %%
guess = None  # your guess, 0 to 24


def right(slm, request, calls):
    try:
        reply = decided(slm, request, tools=tools, max_tokens=60)
    except lk.IncompleteOutput:    # ran on until the limit
        return False
    return [{"name": c.name, "arguments": c.arguments} for c in reply.tool_calls] == calls


def all_right(slm):
    return [right(slm, request, calls) for request, calls in test]


before = sum(all_right(plain))
predict("Right before training", guess, before, "of 24")

# %% [markdown]
# ## What training changes
# The model has 135 million numbers. To train all of them would give 270 MB that are yours alone. **LoRA** leaves
# them as they are and adds a small correction to each matrix $W$: the product of two thin matrices, $W + B A$. Only
# $A$ and $B$ are trained.

# %%
inputs, outputs, rank = 576, 1536, 8
W = np.zeros((outputs, inputs))
A, B = np.ones((rank, inputs)), np.ones((outputs, rank))
print("W + BA has the shape of W:", (W + B @ A).shape)
print(f"W has {W.size} numbers, A and B together {A.size + B.size}:",
      f"{W.size / (A.size + B.size):.0f} times fewer")

# %% [markdown]
# ## What it learns from
# The text below is what the model reads in training: the tools, a request, the right answer. It learns to make the
# **answer** likely, nothing else: the loss is the mean of $-\log p$ over the answer's tokens.

# %%
request, calls = make_examples(SEEN, 1, seed=3)[0]
question, answer = trained.turn(request, calls)
print(trained.beginning(tools[:1]) + question + ">>>" + answer)

# %% [markdown]
# ## The course's adapter
# One adapter came with the course. It was trained in this way for over an hour, on more than a thousand tools, with
# their names and wordings changed all the time, so that it has to read what a tool says of itself. Your bicycle tools
# were not among them. `lk.connect()` uses it when you pass tools.

# %%
guess = None  # your guess: how many of the 24 does it get right?
ours = lk.connect()
assert ours.capabilities.trained
unseen = sum(all_right(ours))
predict("Right with the course's adapter", guess, unseen, "of 24")

# %% [markdown]
# ## Corrections become examples
# In the shop you would correct the mistakes, and labkit would keep the corrections in a file. Here the sentences above
# play the customers. `Feedback` is that file: each line is on disk when `add` returns.

# %%
folder = Path(tempfile.mkdtemp())
book = Feedback(folder / "corrections.jsonl")
for request, calls in make_examples(SEEN, 96, seed=2):
    book.add(request, tools, calls)
print(len(book), "corrections. The file begins:", book.path.read_text("utf-8")[:60], "…")

# %% [markdown]
# ## A learning agent
# Now the agent learns from its mistakes: training goes on from the course's adapter, on your corrections, in eight
# steps. Only the upper 15 of the model's 30 layers learn. What went wrong is traced down from the answer, and need not
# be traced on through the other 15: such a step is shorter, and for one desk it is enough. Before, after four steps and
# after eight the model answers 12 *other* held-back requests. How many of the first 24 will be right in the end?

# %%
guess = None  # your guess, 0 to 24
view = TrainingView()
view

# %%
def as_examples(pairs):
    asked = [{"request": request, "calls": calls} for request, calls in pairs]
    return examples.made({"tools": [tool.to_openai()["function"] for tool in tools], "asked": asked})


if can_train:
    others = [as_examples(make_examples(HELD_BACK, 12, seed=7))]
    settings = Settings(rank=32, rate=6e-4, warmup=2, batch_tokens=800, layers=15, steps=8, seconds=200,
                        report=1, check=4)
    done = specialise(book.examples(), folder / "bikes.gguf", start=adapter_file.course(), on_event=view,
                      settings=settings, valid=others)
    print(view.text())

# %%
if can_train:
    mine = lk.connect(adapter=done.path)
    each = all_right(mine)
    after = sum(each)
    predict("Right after learning from corrections", guess, after, "of 24")
    print("Still wrong:", *[request for (request, _), good in zip(test, each) if not good], sep="\n    ")
    print(f"The adapter has {done.path.stat().st_size / 1e6:.1f} MB. The model has 98.")
    assert after > max(before, unseen)

# %% [markdown]
# What is still wrong says what to correct next: look for a sentence among those it learned from that is like it.
#
# This is how it came about. A step learns from eight corrections, or sixteen short ones. The dashed line is the
# course's adapter, where the agent began, the dotted one the model without any training; both stand still.

# %%
if can_train:
    steps, share = zip(*((step, 100 * right) for step, _, right in done.curve))
    figure, axes = plt.subplots(figsize=(5.5, 2.8))
    axes.plot(steps, share, "o-", color="black", label="learning from corrections")
    for style, name, level in (("--", "the course's adapter", share[0]),
                               (":", "untrained", 100 * before / 24)):
        axes.axhline(level, linestyle=style, color="gray", marker="", label=name)
    axes.set(xlabel="training steps", ylabel="right, held back (%)", ylim=(0, 102), xlim=(0, 8.4))
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    alt(figure, "Held-back requests right: " + ", ".join(
        f"{right:.0f} % after {n}" for n, right in zip(steps, share)) + f" steps; {100 * before / 24:.0f} % "
        "untrained.")

# %% [markdown]
# The sentences of the test were not among those it learned, nor were most of the values. It has learned *this desk*.

# %%
labels = ["untrained", "the course's", "and your corrections"]
scores = [before, unseen, after if can_train else 0]
figure, axes = plt.subplots(figsize=(6.5, 2.6))
bars = axes.bar(labels, scores, hatch=HATCHES[:3], edgecolor="black", color="white", width=0.55)
axes.bar_label(bars, padding=3)
axes.set(ylabel="right, of 24 requests", ylim=(0, 27))
alt(figure, "Requests answered right, of 24: "
            + ", ".join(f"{label} {n}" for label, n in zip(labels, scores, strict=True)) + ".")

# %% [markdown]
# A specialist knows its own desk. Ask your adapter to work at another one, and see what that is worth.
#
# ## Tools that nobody trained on
# This is the hard test: odd tools, and people who leave half of it out or say it at length.
#
# The course keeps 480 requests to tools of twelve domains that its adapter was never trained on. Here are 12 of those
# that need a call, with one or two tools on offer, so that they are read fast. A call counts when the tool and
# **every** value are right.

# %%
def twelve(calls):
    return random.Random(5).sample([c for c in held_out.load("test", calls) if len(c.tools) <= 2], 12)


def outcomes(slm, cases):
    """(confidence, right) of each case."""
    found = []
    for case in cases:
        try:
            reply = decided(slm, list(case.messages), tools=list(case.tools), max_tokens=80)
            calls = [{"name": c.name, "arguments": c.arguments} for c in reply.tool_calls]
            found.append((reply.confidence, case.right(calls)))
        except lk.IncompleteOutput:    # ran on until the limit
            found.append((0.0, False))
    return found


cases = twelve(calls=True)
print(cases[0].messages[-1]["content"])
print("offered:", [tool["function"]["name"] for tool in cases[0].tools])

# %%
guess = None  # your guess: how many of these 12 does the course's adapter get right?
seen = outcomes(ours, cases)
n_ours = sum(right for _, right in seen)
predict("Right on tools it never saw", guess, n_ours, "of 12")
if can_train:
    n_mine = sum(right for _, right in outcomes(mine, cases[:6]))
    print(f"Of the first 6: the course's {sum(right for _, right in seen[:6])}, your adapter {n_mine}")

# %% [markdown]
# ## When not to call
# The other half of the skill. Small talk, questions that only sound like a tool, requests that lack something: for
# all of these the right number of calls is none.

# %%
guess = None  # your guess: of 12 requests that need no call, how many are left alone?
left_alone = outcomes(ours, twelve(calls=False))
predict("Left alone", guess, sum(right for _, right in left_alone), "of 12")
assert sum(right for _, right in left_alone) > 6

# %% [markdown]
# What is missing is asked for. The adapter writes `null` in the place of a value that it was not told, and labkit
# turns that into a question.

# %%
print(ours.chat("Book a repair for my old racer, it has a flat tyre.", tools=tools).text or "it called")

# %% [markdown]
# ## How sure is it?
# The model wrote each token with a probability. Their product is the probability of the whole answer:
# `reply.confidence`. If it is worth something, answers with a high one must be right more often. Both sets together,
# 24 answers:

# %%
every = sorted(seen + left_alone)
thirds = [every[:8], every[8:16], every[16:]]
mean_confidence = [np.mean([confidence for confidence, _ in part]) for part in thirds]
share_right = [np.mean([right for _, right in part]) for part in thirds]
figure, axes = plt.subplots(figsize=(4.2, 3.2))
axes.plot([0, 1], [0, 1], ":", color="gray", label="as sure as right")
axes.plot(mean_confidence, share_right, "o-", color="black", label="measured, 8 answers a point")
axes.set(xlabel="confidence (probability of the answer)", ylabel="share right",
         xlim=(0, 1.02), ylim=(0, 1.02))
axes.legend(loc="lower right")
alt(figure, "Share right by confidence: " + ", ".join(
    f"{r:.0%} at {c:.2f}" for c, r in zip(mean_confidence, share_right, strict=True)) + ".")

# %% [markdown]
# This is what a router needs: do the sure ones here, pass the rest on. Lesson 03 built one.
#
# ## What it costs
# For chat, labkit uses the model as it is, so nothing is lost. To see what *would* be lost: **perplexity** is how many
# tokens the model hesitates between, on average, in a text. Here on a text of this course, without the adapter and
# with it.

# %%
prose = (data_folder("adapters") / "README.md").read_text("utf-8")[:1000]   # on its adapter


def perplexity(engine):
    tokens = engine.tokenize(prose)
    return np.exp(-engine.score(tokens[:1], tokens[1:]) / len(tokens[1:]))


idle, active = perplexity(ours.backend.engine), perplexity(ours.backend.trained_engine)
print(f"perplexity without the adapter {idle:.1f}, with it {active:.1f} ({active / idle - 1:+.0%})")
assert perplexity(plain.backend.engine) == idle
question = "What is the capital of France?"
assert ours.chat(question, max_tokens=16).text == plain.chat(question, max_tokens=16).text

# %% [markdown]
# A specialist pays for what it knows with what it forgets. Keeping the two apart costs a few megabytes, and a second
# cache.
#
# ## Exercises
# **10.1** A matrix has `inputs` × `outputs` numbers. Write `lora_share(inputs, outputs, rank)`: the numbers of its
# adapter as a share of the numbers of the matrix.

# %%
def lora_share(inputs, outputs, rank):
    # solution
    return rank * (inputs + outputs) / (inputs * outputs)
    # end
    #~ ...

# %%
check("10.1", lora_share)

# %% [markdown]
# **10.2** A test is worth nothing when the model has seen its tools in training. Write `leaked(train, test)`. Both are
# lists of groups `{"tools": [{"name": …}, …]}`. Return the sorted names of the tools that are in both.

# %%
def leaked(train, test):
    # solution
    def names(groups):
        return {tool["name"] for group in groups for tool in group["tools"]}
    return sorted(names(train) & names(test))
    # end
    #~ ...

# %%
check("10.2", leaked)

# %% [markdown]
# **10.3** You want to trust only answers that are right often enough. Write `threshold(outcomes, wanted)` for a list of
# pairs `(confidence, right)`: the lowest confidence `c` such that of all answers with a confidence of at least `c`, a
# share of at least `wanted` is right. `None` if there is no such `c`.

# %%
def threshold(outcomes, wanted):
    # solution
    for c in sorted({confidence for confidence, _ in outcomes}):
        kept = [right for confidence, right in outcomes if confidence >= c]
        if sum(kept) / len(kept) >= wanted:
            return c
    return None
    # end
    #~ ...

# %%
check("10.3", threshold)

# %% [markdown]
# ## What you have seen
# - Less than a minute of training on two cores teaches a small model one desk. No cloud, no graphics card.
# - What it learns is in a file of its own, and comes off again.
# - Trained on many tools, it also calls tools it has never seen. How well was measured, not promised.
# - It knows something about when it is wrong. Use that.
