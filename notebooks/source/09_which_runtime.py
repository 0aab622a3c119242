# %% [markdown]
# # 09 · MLX, and which runtime to choose
#
# You have run one model in five runtimes by now. Here comes the sixth, Apple's **MLX**. Then all of them
# stand in one table: the same weights, the same questions, the same machine. From that table, and not from
# a list of adjectives, you choose a runtime for a device and a need.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

import labkit as lk
from labkit.course import HATCHES, alt, check, needs, plot_style, predict
from labkit.models import workshop
from labkit.models.environments import environment
from labkit.profiling import league
from labkit.table import Table, size

plot_style()

# %% [markdown]
# ## MLX, and its 4-bit weights
# MLX is made for Apple's chips, where processor and graphics share one memory. The same library also has a
# build for Linux on plain processors. That is what runs here unless you sit at a Mac: right answers, and a
# speed that says nothing about a Mac. MLX wants packages of its own, so it lives in an environment of its own.

# %%
here = environment("mlx")
with_mlx = needs(
    mlx=lambda: here.why_not() or True, mlx_form=lambda: workshop.form("mlx") is not None or "not built",
    how="Run: labkit backend install mlx, then labkit models build mlx. Both need a network once.", stop=False)

# %% [markdown]
# A model in MLX's form is a folder. The weights are in a `safetensors` file, which begins with its own table of
# contents: eight bytes for the length of the table, then the table as JSON. So one can look inside without
# any library.

# %%
def contents(path):
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length))


if with_mlx:
    folder = workshop.require("mlx", "4bit")
    inside = contents(folder / "model.safetensors")
    for name in [n for n in inside if "layers.0.self_attn.q_proj" in n]:
        print(f"{name:45} {inside[name]['dtype']:5} {inside[name]['shape']}")

# %% [markdown]
# Each row of the matrix is cut into groups of 64 weights. A group keeps one scale and one bias; each of its
# weights is a whole number from 0 to 15, eight of them in one 32-bit word. A weight is `scale × number + bias`.
# How many bits is that for one weight?

# %%
guess = None  # bits a weight, for example 4.1

if with_mlx:
    layer = {n.rsplit(".", 1)[1]: inside[n] for n in inside if "layers.0.self_attn.q_proj" in n}
    n_bytes = {part: at["data_offsets"][1] - at["data_offsets"][0] for part, at in layer.items()}
    n_weights = layer["weight"]["shape"][0] * layer["weight"]["shape"][1] * 8  # eight in a word
    bits = 8 * sum(n_bytes.values()) / n_weights
    predict("Bits a weight", guess, bits, "bits")
    assert 4 < bits < 6
    print("the whole folder:", size(sum(f.stat().st_size for f in folder.iterdir())))

# %% [markdown]
# The same rounding in NumPy, on one group of weights. The largest error is half a step.

# %%
rng = np.random.default_rng(0)
weights = rng.normal(0, 0.05, 64).astype(np.float32)
scale, bias = (weights.max() - weights.min()) / 15, weights.min()
numbers = np.round((weights - bias) / scale)
back = scale * numbers + bias
print("numbers:", numbers[:12].astype(int), "…")
print(f"largest error {np.abs(back - weights).max():.4f}, half a step {scale / 2:.4f}")
assert np.abs(back - weights).max() <= scale / 2 + 1e-7

# %% [markdown]
# ## It answers, and it does not keep to a schema
# `lk.connect("mlx")` starts MLX's own server, waits until it is ready, and stops it with this notebook. Its
# server takes OpenAI's `response_format` and ignores it without a word. labkit asks it something that no model
# does by itself, sees that, and says so in the capabilities.

# %%
if with_mlx:
    mlx = lk.connect("mlx")
    print(mlx.chat("What is the capital of France?", max_tokens=16))
    print(mlx.capabilities)

# %% [markdown]
# What then? labkit keeps the part of the answer that is valid so far, writes what *must* come next (a brace, a
# name, a quote), and asks the model to go on from there. It is slower than constrained decoding, and the result
# is as valid. Below, `written` counts the tokens that the model wrote, thrown away ones included.

# %%
PLACE = {"type": "object", "required": ["city", "country"], "additionalProperties": False,
         "properties": {"city": {"type": "string", "maxLength": 20}, "country": {"type": "string", "maxLength": 20}}}

if with_mlx:
    reply = mlx.chat("Paris is in France. Give the city and the country.", schema=PLACE, max_tokens=60)
    print(reply.parsed)
    print("written:", reply.usage.completion_tokens, "tokens in", f"{reply.timing.total_s:.1f} s")
    assert set(reply.parsed) == {"city", "country"}
    mlx.close()

# %% [markdown]
# ## The league table
# Every runtime that is on this machine gets the same work, each in a fresh process: load the model, answer one
# client, then 4 and 16 clients at once, then call tools for 6 requests. What `labkit bench --backends all` has
# measured on this machine, with the same versions, is taken from there; the rest is measured now, and left out
# where that takes more than 20 seconds.
#
# First write down what you expect: which runtime writes the most tokens per second for 16 clients?

# %%
guess = None  # a name, for example "vllm"

table = league.run(kept=True, limit_s=20)
best = max(table.entries, key=lambda entry: entry.tokens_per_s[16])
print(f"most tokens/s for 16 clients: {best.name}", "" if guess is None else f"(your guess: {guess})")
table

# %% [markdown]
# What a table hides, a picture shows. One client asks at a time on the left of each group, sixteen on the right.
# A runtime that works on several requests in one pass grows; one that takes them one after the other does not.

# %%
names = [entry.name for entry in table.entries]
figure, axes = plt.subplots(figsize=(6.5, 3.4))
for i, clients in enumerate((1, 4, 16)):
    speeds = [entry.tokens_per_s[clients] for entry in table.entries]
    axes.bar(np.arange(len(names)) + 0.27 * (i - 1), speeds, 0.25, hatch=HATCHES[i], edgecolor="black",
             color=("#ffffff", "#b0b0b0", "#666666")[i], label=f"{clients} client{'s' if clients > 1 else ''}")
axes.set_xticks(np.arange(len(names)), names, rotation=20, ha="right")
axes.set_ylabel("tokens/s, all clients together")
axes.legend()
alt(figure, "Tokens per second of each runtime for 1, 4 and 16 clients: " + "; ".join(
    f"{e.name} {', '.join(f'{speed:.0f}' for speed in e.tokens_per_s.values())}" for e in table.entries) + ".")

# %% [markdown]
# Speed has a price. Down and to the left is better: little memory, and the first word soon.

# %%
figure, axes = plt.subplots()
for i, entry in enumerate(sorted(table.entries, key=lambda entry: entry.rss_bytes)):
    x, y = entry.rss_bytes / 1e6, entry.ttft_s * 1000
    axes.plot(x, y, "o", color="black")
    side, place = (("right", (-7, -4)), ("left", (7, -4)))[i % 2]  # so that neighbours' names stay apart
    axes.annotate(entry.name, (x, y), xytext=place, textcoords="offset points", ha=side)
axes.set(xscale="log", yscale="log", xlabel="memory, MB", ylabel="time to first token, ms")
axes.margins(x=0.25, y=0.2)
alt(figure, "Memory against time to first token: " + "; ".join(
    f"{e.name} {e.rss_bytes / 1e6:.0f} MB, {e.ttft_s * 1000:.0f} ms" for e in table.entries) + ".")

# %% [markdown]
# ## The guide's adjectives, next to the figures
# The guide compares runtimes in two tables of words: "maximal throughput", "balanced", "optimised memory",
# "simple to install". Some of these can be asked of our table. A claim is a function of it; nothing is typed in.

# %%
of = {entry.name: entry for entry in table.entries}


def claim(words, needed, holds, figures):
    if missing := [name for name in needed if name not in of]:
        return words, f"not here: {', '.join(missing)}", "-"
    return words, figures(), "yes" if holds() else "no"


def per_16(name):
    return of[name].tokens_per_s[16]


claims = [
    claim("vLLM: the most throughput", ["vllm"], lambda: best.name == "vllm",
          lambda: f"{per_16('vllm'):.0f} tokens/s for 16; best is {best.name} with {per_16(best.name):.0f}"),
    claim("vLLM: memory used best", ["vllm"], lambda: of["vllm"].rss_bytes == min(e.rss_bytes for e in of.values()),
          lambda: f"{size(of['vllm'].rss_bytes)}; least is {size(min(e.rss_bytes for e in of.values()))}"),
    claim("Foundry Local: balanced speed", ["foundry-local", "onnx"],
          lambda: per_16("foundry-local") > 0.5 * per_16("onnx"),
          lambda: f"{per_16('foundry-local'):.0f} tokens/s; the ONNX Runtime below it alone {per_16('onnx'):.0f}"),
    claim("vLLM: answers begin within a second", ["vllm"], lambda: of["vllm"].ttft_s < 1,
          lambda: f"first token after {of['vllm'].ttft_s * 1000:.0f} ms"),
    claim("Ollama: simple, good speed", ["ollama"], lambda: per_16("ollama") > 0.5 * per_16(best.name),
          lambda: f"{per_16('ollama'):.0f} tokens/s"),
]
Table(("the guide says", "measured here", "holds"), tuple(claims))

# %% [markdown]
# Two words of warning. The machine has no GPU: vLLM and MLX are made for one, and on it the order changes. And a
# model of 135 million parameters leaves a runtime little to do between two tokens, so what a runtime does *around*
# the model weighs more here than with a large one. A table like this is worth exactly as much as the machine and
# the model it was made with. That is why you can make your own: `labkit bench --backends all`.
#
# ## Choose
# A need is a column; a device is a limit. `choose` reads the table and gives the figure with the name.

# %%
for need in league.NEEDS:
    print(f"{need:14} {table.choose(need)}")
print()
for megabytes in (400, 1000, 4000):
    print(f"many clients, at most {megabytes} MB: {table.choose('many clients', memory_bytes=megabytes * 1e6)}")

# %% [markdown]
# ## Exercises
# **09.1** A group of `group` weights is kept as whole numbers of `bits` bits each, with one scale and one bias of
# 16 bits. Write `bits_per_weight(bits, group)`.

# %%
def bits_per_weight(bits, group):
    # solution
    return bits + 2 * 16 / group
    # end
    #~ ...

# %%
check("09.1", bits_per_weight)

# %% [markdown]
# **09.2** A runtime is *dominated* when another one is at least as good in both memory and time to first token, and
# better in one of them. Nobody should choose it for these two. Write `worth_a_look(rows)` for a list of
# `(name, memory, seconds)`: the names that are not dominated, in the order given.

# %%
def worth_a_look(rows):
    # solution
    def beaten(a):
        return any(b[1] <= a[1] and b[2] <= a[2] and b[1:] != a[1:] for b in rows)
    return [row[0] for row in rows if not beaten(row)]
    # end
    #~ ...

# %%
check("09.2", worth_a_look)

# %% [markdown]
# **09.3** A desk needs a runtime that keeps to a schema, fits into `memory` bytes, and serves 16 clients as fast as
# possible. Write `for_the_desk(entries, memory)`: the name, or `None` when nothing fits. An entry has `.name`,
# `.rss_bytes`, `.tokens_per_s[16]` and `.capabilities["constraints"]`, a list that may hold `"json_schema"`.

# %%
def for_the_desk(entries, memory):
    # solution
    fitting = [e for e in entries if e.rss_bytes <= memory and "json_schema" in e.capabilities["constraints"]]
    return max(fitting, key=lambda e: e.tokens_per_s[16]).name if fitting else None
    # end
    #~ ...

# %%
check("09.3", for_the_desk)

# %% [markdown]
# ## What you have seen
# - The same weights give the same kind of answers everywhere. Speed, memory, start and what a runtime can be held
#   to differ by factors.
# - For one user a small engine in the process is enough. For many at once, a server that batches pays.
# - What a server does not enforce can be repaired from outside, at a price in time.
# - A choice needs a need. "Best" without one is an adjective.
