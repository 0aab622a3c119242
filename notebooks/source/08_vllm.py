# %% [markdown]
# # 08 · vLLM: many answers at once
#
# Up to now one person asked and one model answered. A service has many people. **vLLM** is a server made for
# that, and two ideas carry it: it writes many answers in the same step, and it hands out memory in small
# blocks, as an operating system does.
#
# In this lesson you start the real server, watch its memory in a drawing, measure what many clients at once
# gain, and check five ready-made settings against the server's own parser. At the end nothing is left running.

# %%
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import matplotlib.pyplot as plt

import labkit as lk
from labkit.backends import managed, vllm_templates
from labkit.backends.vllm import Vllm
from labkit.course import HATCHES, alt, check, needs, plot_style, predict
from labkit.models.paging import BlockTable

plot_style()
here = needs(vllm=lambda: Vllm.why_not() or True, stop=False)

# %% [markdown]
# The server takes half a minute to start, most of it Python reading its own libraries. So it starts now, in the
# background, and you learn about its memory meanwhile. A second task gives some command lines to its parser; that
# is for the end of the lesson.

# %%
background, said = ThreadPoolExecutor(2), []
ready_made = {name: vllm_templates.arguments("some/model", name) for name in vllm_templates.TEMPLATES}
older = {flag: ["some/model", *flag.split()] for flag in ("--disable-log-requests", "--speculative-model small/model")}
if here:
    starting = background.submit(Vllm.server, context_length=4096, on_line=said.append)
    checking = background.submit(vllm_templates.validate_all, [*ready_made.values(), *older.values()])

# %% [markdown]
# ## What an answer keeps in memory
# To write the next token, the model needs the **keys and values** of all tokens before it. They are computed
# once and kept: the KV cache. For one token of our model that is, in every layer, a key and a value for each
# of its KV heads, usually in two bytes a number.

# %%
layers, kv_heads, head_dim, bytes_each = 30, 3, 64, 2
token_bytes = layers * 2 * kv_heads * head_dim * bytes_each
context, memory = 4096, 2**30
print(f"one token:            {token_bytes / 1e3:6.1f} kB")
print(f"an answer of 300:     {300 * token_bytes / 1e6:6.1f} MB")
print(f"a context of {context}:    {context * token_bytes / 1e6:6.1f} MB")

# %% [markdown]
# Nobody knows how long an answer will be. The simple way is to **reserve** room for the longest one, in one piece.
# The other way is to hand out **blocks** of 16 tokens, one when it is needed. With 1 GiB for the cache and
# answers that come to 300 tokens with their prompts: how many more fit with blocks than with reserved room?

# %%
guess = None  # your guess: how many times as many

reserved = memory // (context * token_bytes)
blocks_of_16 = memory // (16 * token_bytes)
in_blocks = blocks_of_16 // -(-300 // 16)
print(f"reserved: {reserved} at once; in blocks: {in_blocks} at once")
predict("Times as many answers with blocks", guess, in_blocks / reserved, "×")
assert in_blocks > 10 * reserved

# %% [markdown]
# ## The block table
# `BlockTable` is that bookkeeping in 80 lines, without any model: who holds which block. It is how vLLM does it,
# after the paper that named it **PagedAttention**. Below, four answers in a memory of 48 blocks. Answer B ends,
# and D, which came later, moves into its blocks. They need not lie side by side, because the table says where
# they are.

# %%
def draw(axes, table, title):
    for block in table.blocks:
        x, y = block.number % 16, -(block.number // 16)
        axes.add_patch(plt.Rectangle((x, y), 0.9, 0.8, fill=False, lw=0.6, edgecolor="#777777"))
        if block.holders:
            hatch = "" if len(block.holders) > 1 else HATCHES[1 + "ABCD".index(block.holders[0])]
            axes.add_patch(plt.Rectangle((x, y), 0.9 * block.filled / table.block_tokens, 0.8, hatch=hatch,
                                         facecolor="#dddddd", edgecolor="#555555", lw=0))
            axes.text(x + 0.45, y + 0.4, "".join(block.holders), ha="center", va="center", fontsize=8,
                      bbox={"facecolor": "white", "lw": 0, "pad": 0.8})
    rows = -(-len(table.blocks) // 16)
    axes.set(xlim=(-0.2, 16), ylim=(0.85 - rows, 0.95), title=title)
    axes.axis("off")


# %%
def prompt(name, tokens):
    return [f"{name}{i}" for i in range(tokens)]


table = BlockTable(48)
for name, tokens in {"A": 100, "B": 70, "C": 150}.items():
    table.admit(name, prompt(name, tokens))
before = BlockTable(48)
for name, tokens in {"A": 100, "B": 70, "C": 150}.items():
    before.admit(name, prompt(name, tokens))
table.release("B")
table.admit("D", prompt("D", 130))
figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.5, 3.4))
draw(top, before, "A, B and C")
draw(bottom, table, "B has ended; D took its blocks and some more")
alt(figure, "Two grids of 48 blocks. Above, A, B and C lie one after the other. Below, B is gone, and D "
            "lies partly where B was and partly after C.")
assert table.used == 7 + 10 + 9

# %% [markdown]
# Only the last block of each answer can have empty places. How much of the held memory is empty on average? Take
# 200 answers of random lengths up to 2 000 tokens, in blocks and with room reserved for 2 000. Write your guess
# for the blocks, in per cent.

# %%
import random

guess = None  # per cent of the held memory that is empty, with blocks

rng = random.Random(8)
lengths = [rng.randint(20, 2000) for _ in range(200)]
table = BlockTable(200 * 125, share=False)
for number, length in enumerate(lengths):
    table.admit(f"{number}", range(length))
waste_blocks = 100 * table.wasted / (16 * table.used)
waste_reserved = 100 * (1 - sum(lengths) / (2000 * len(lengths)))
print(f"empty with reserved room: {waste_reserved:.0f} %")
predict("Empty with blocks", guess, waste_blocks, "%")
assert waste_blocks < 5 < waste_reserved

# %% [markdown]
# ## A beginning that many share
# Agents begin with the same instructions every time. When the first blocks of two prompts hold the same text,
# vLLM keeps them once. Four people, the same 64 tokens of instructions, 20 tokens each of their own.

# %%
instructions = prompt("i", 64)
tables = {}
for share in (False, True):
    tables[share] = BlockTable(32, share=share)
    for name in "ABCD":
        tables[share].admit(name, instructions + prompt(name, 20))
figure, axes = plt.subplots(2, 1, figsize=(6.5, 2.6))
draw(axes[0], tables[False], f"each its own: {tables[False].used} blocks")
draw(axes[1], tables[True], f"the common beginning once: {tables[True].used} blocks")
alt(figure, f"Two grids. Above, four answers hold {tables[False].used} blocks. Below, the four blocks of the "
            f"instructions belong to all of them, and {tables[True].used} blocks are enough.")
assert tables[True].used == 4 + 4 * 2 and tables[False].used == 4 * 6

# %% [markdown]
# And the shared part is not only stored once: it is *computed* once. You will see that in the server's own
# figures below.
#
# **08.1** Write `blocks(lengths, block_tokens)`: how many blocks answers of these lengths (in tokens) hold, and how
# many places in them are empty, as a pair.

# %%
def blocks(lengths, block_tokens):
    # solution
    held = sum(-(-length // block_tokens) for length in lengths)
    return held, held * block_tokens - sum(lengths)
    # end
    #~ ...

# %%
check("08.1", blocks)

# %% [markdown]
# ## The real server
# From here on vLLM must be installed. If it is, it has been loading while you read.

# %%
needs(vllm=lambda: Vllm.why_not() or True)
began = time.perf_counter()
server, complaints = starting.result(), checking.result()
slm = lk.connect("vllm", context_length=4096)
print(said[-1].split(", at")[0], f"(you waited {time.perf_counter() - began:.0f} s of it here)")
reply = slm.chat("What is the capital of France?", max_tokens=16)
assert "Paris" in reply.text
reply

# %% [markdown]
# It is a web server with OpenAI's routes, in a Python of its own, and a second `lk.connect` with the same settings
# finds the same one. What it knows of itself it tells at `/metrics`, one line a figure. These are the ones to know:

# %%
ROOT = server.base_url.removesuffix("/v1")
EXPLAINED = {
    "vllm:num_requests_running": "answers being written now",
    "vllm:num_requests_waiting": "requests that wait for room: if this stays above 0, the server is full",
    "vllm:kv_cache_usage_perc": "share of the blocks that are held, 0 to 1 (in spite of its name)",
    "vllm:prefix_cache_queries_total": "prompt tokens looked up among the blocks in memory",
    "vllm:prefix_cache_hits_total": "of these, found: they were not computed again",
    "vllm:generation_tokens_total": "tokens written since the start",
}


def metrics():
    lines = httpx.get(f"{ROOT}/metrics", trust_env=False, timeout=60).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("vllm:"))
    values = {name.split("{")[0]: float(value) for name, value in pairs}
    return {name: values[name] for name in EXPLAINED}


for name, value in metrics().items():
    print(f"{value:8.3f}  {name:34} {EXPLAINED[name]}")

# %% [markdown]
# ## Many clients at once
# To write one token, the whole model has to be read from memory. Reading it takes the same time whether one answer
# or sixteen get their next token from it. vLLM puts all answers that are on their way into **one** step; a new
# one joins at the next step, and one that is done leaves. That is **continuous batching**.
#
# One client gets some number of tokens a second. How many times that do 16 clients get, all together?

# %%
guess = None  # your guess: times as many tokens per second

TOPICS = ["the sea", "a dragon", "bread", "winter", "a lost key", "the moon", "a bridge", "tea", "an old clock",
          "a fox", "rain", "a letter", "the desert", "a garden", "a storm", "chess"]


def tell(topic):
    return slm.chat(f"Tell me a story about {topic}.", max_tokens=32)


clients, speed, each, held, running = [1, 4, 16], [], [], 0.0, 0.0
for n in clients:
    with ThreadPoolExecutor(n) as pool:
        began = time.perf_counter()
        asked = [pool.submit(tell, topic) for topic in TOPICS[:n]]
        while n == 16 and not all(future.done() for future in asked):
            now = metrics()
            running = max(running, now["vllm:num_requests_running"])
            held = max(held, now["vllm:kv_cache_usage_perc"])
            time.sleep(0.2)
        replies = [future.result() for future in asked]
    speed.append(sum(reply.usage.completion_tokens for reply in replies) / (time.perf_counter() - began))
    each.append(speed[-1] / n)
predict("Tokens per second, 16 clients against 1", guess, speed[-1] / speed[0], "×")

# %%
figure, (left, right) = plt.subplots(1, 2)
left.plot(clients, speed, "o-", color="black")
left.plot(clients, [n * speed[0] for n in clients], "s--", color="gray", label="a server for each")
left.set(xlabel="clients at once", ylabel="tokens/s, all together", xticks=clients, ylim=(0, None))
right.plot(clients, each, "o-", color="black")
right.set(xlabel="clients at once", ylabel="tokens/s for each client", xticks=clients, ylim=(0, None))
left.legend()
alt(figure, "Left: all together, " + ", ".join(f"{s:.0f} tokens/s at {n}" for n, s in zip(clients, speed))
            + ". Right: for each client, " + ", ".join(f"{e:.0f} at {n}" for n, e in zip(clients, each)) + ".")
assert speed[-1] > 2 * speed[0] and each[-1] < speed[-1]

# %% [markdown]
# The total rises, and each single answer comes more slowly. On a graphics card the total rises much further:
# reading memory is by far the longest part of a step there. On a processor with few cores the computing soon
# takes over. And the number format matters: this processor's speed with many clients depends on whether it can
# compute in bfloat16 itself, so labkit asks it and takes float32 where it cannot.
#
# While the 16 were on their way, the server was asked how full it was. The most it said:

# %%
print(f"{running:.0f} answers at once held {100 * held:.1f} % of the blocks")
print("now:", {name.removeprefix("vllm:"): value for name, value in metrics().items() if "total" not in name})
assert metrics()["vllm:num_requests_running"] == 0

# %% [markdown]
# ## The shared beginning, measured
# Long instructions, then two different questions. For the second one the instructions are in the blocks already.
# By how much does the time to the first token fall?

# %%
guess = None  # your guess: the second request's time as a share of the first's, in per cent

rules = "You answer briefly. " + " ".join(f"Rule {n}: be kind to visitor number {n}." for n in range(40))
hits, times = metrics()["vllm:prefix_cache_hits_total"], []
for question in ("What is the capital of Italy?", "Name a colour."):
    messages = [{"role": "system", "content": rules}, {"role": "user", "content": question}]
    reply = slm.chat(messages, max_tokens=4)
    times.append(reply.timing.ttft_s)
found = metrics()["vllm:prefix_cache_hits_total"] - hits
print(f"prompt: {reply.usage.prompt_tokens} tokens; found in memory: {found:.0f}; "
      f"first token after {times[0]:.2f} s, then {times[1]:.2f} s")
predict("The second as a share of the first", guess, 100 * times[1] / times[0], "%")
assert found > 300 and times[1] < times[0]

# %% [markdown]
# ## Five settings to begin with
# The guide gives five sets of flags, from one developer to a large company. Here they are with the flags of today.
# The cards are graphics cards; "weights" says how the model's weights must have been made.

# %%
vllm_templates.table()

# %% [markdown]
# Are they right? The server that is installed here has a parser that knows. All five were given to it while you
# read, and two flags of the guide's with them.

# %%
for name, complaint in zip([*ready_made, *older], complaints, strict=True):
    print(f"{name:32} {complaint or 'accepted'}")
assert complaints[:5] == [None] * 5 and all(complaints[5:])

# %% [markdown]
# So two flags of the guide stop the server before it starts. Flags go out of use quickly: ask the parser, not a
# text. This is what became of the ones that older instructions use.

# %%
vllm_templates.renamed()

# %% [markdown]
# A command for your own case comes from a template and what you change in it: two cards, weights turned to FP8 when
# they are loaded, and a small model that guesses ahead (**speculative decoding**).

# %%
print(vllm_templates.command("your/model", "production-low", gpus=2, quantisation="fp8",
                             speculative={"model": "your/small-model", "num_speculative_tokens": 4}))

# %% [markdown]
# Two of these need care. Speculative decoding helps one client and costs many: the guesses use up what batching
# had left over. And `--trust-remote-code`, which older instructions add everywhere, runs program code that comes
# with a model's files. No template here has it.
#
# ## Stopping, and proof of it
# The server would end with this notebook's kernel, whatever ends that. It can also be stopped now. vLLM is
# several processes, so the proof looks for all of them.

# %%
from labkit.backends import supervisor

below = supervisor.tree(server.pid, server.started)
print(f"running: {len(below)} processes")
server.stop()
left = [process for process in below if process.is_running() and process.status() != "zombie"]
try:
    answer = httpx.get(f"{ROOT}/health", trust_env=False, timeout=2).status_code
except httpx.HTTPError as error:
    answer = type(error).__name__
print(f"still running: {len(left)}; at its address: {answer}")
assert not left and answer == "ConnectError" and server not in managed.running()

# %%
try:
    slm.chat("Are you there?")
except lk.BackendUnavailable as error:
    print("BackendUnavailable:", str(error).replace(server.base_url, "the server"))

# %% [markdown]
# ## Exercises
# **08.2** An operator wants one warning from the server's figures. Write `alarm(values)` for a dict such as
# `metrics()` gives. Return `"full"` when requests wait and more than 0.9 of the blocks are held, `"busy"` when
# requests wait though there is room, else `"fine"`.

# %%
def alarm(values):
    # solution
    if not values["vllm:num_requests_waiting"]:
        return "fine"
    return "full" if values["vllm:kv_cache_usage_perc"] > 0.9 else "busy"
    # end
    #~ ...

# %%
check("08.2", alarm)

# %% [markdown]
# **08.3** Bring an old command up to date. Write `today(arguments)`: a new list of arguments without
# `--disable-log-requests`, and with `--speculative-model M` (two arguments) replaced by `--speculative-config` and
# a JSON text that holds `"model"` (M) and `"num_speculative_tokens"` (4). All else stays, in its order.

# %%
def today(arguments):
    # solution
    import json
    rest, new = iter(arguments), []
    for argument in rest:
        if argument == "--speculative-model":
            new += ["--speculative-config", json.dumps({"model": next(rest), "num_speculative_tokens": 4})]
        elif argument != "--disable-log-requests":
            new.append(argument)
    return new
    # end
    #~ ...

# %%
check("08.3", today)

# %% [markdown]
# ## What you have seen
# - Blocks instead of reserved room: many times as many answers in the same memory, and hardly any of it empty.
# - A common beginning is stored once and computed once.
# - One step for all answers: the total speed rises with the clients, the single answer slows down.
# - Settings are checked by the server's own parser. Two of the guide's flags no longer exist.
# - A server is stopped when all its processes are gone, and that can be shown.
#
# Lesson 09 puts all runtimes side by side.
