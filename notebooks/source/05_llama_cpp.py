# %% [markdown]
# # 05 · llama.cpp: a library and a server
#
# **llama.cpp** is the C++ program that has run our model so far, inside this Python process. It also comes as
# a **server** that many programs can ask at once.
#
# *What makes it fast on a plain processor, and when is a server better than a library?* You measure each part
# of the answer: wide instructions, threads, memory, cached prompts, guessed tokens, and many clients.

# %%
import inspect
import statistics
import threading
import time

import httpx
import matplotlib.pyplot as plt
import numpy as np

import labkit as lk
from labkit.course import alt, check, needs, plot_style, predict
from labkit.models.hardware import usable_cores
from labkit.table import Table

plot_style()
needs("llama_cpp", "xllamacpp")
slm = lk.connect()
slm.chat("Hello", max_tokens=4)     # the first call loads pages and starts threads

# %% [markdown]
# ## Wide instructions
# A processor can multiply one pair of numbers per instruction, or a whole row of pairs: **SIMD**, single
# instruction, multiple data. Which rows it can do was fixed when the library was compiled. Both libraries
# here say what they were compiled for.

# %%
import xllamacpp

from labkit.models.llama import library

MEANING = {"SSE3": "4 floats at a time", "AVX": "8 floats at a time", "AVX2": "32 bytes of whole numbers",
           "FMA": "multiply and add in one step", "F16C": "16-bit floats to 32-bit ones",
           "AVX512": "16 floats at a time", "NEON": "4 floats at a time, on ARM",
           "DOTPROD": "sums of products of bytes, on ARM", "ARM_FMA": "multiply and add, on ARM",
           "OPENMP": "how threads are run", "REPACK": "weights laid out in rows for SIMD",
           "LLAMAFILE": "fast multiplication of matrices"}


def features(text):
    return {part.split(" = ")[0].split()[-1] for part in text.split("|") if part.strip().endswith("= 1")}


library_has = features(library().llama_print_system_info().decode())
server_has = features(xllamacpp.get_system_info())
rows = [(name, "yes" if name in library_has else "", "yes" if name in server_has else "", MEANING.get(name, ""))
        for name in sorted(library_has | server_has)]
assert library_has and server_has
Table(("feature", "llama-cpp-python", "xllamacpp", "what it does"), tuple(rows))

# %% [markdown]
# The first was compiled on this machine and takes what the processor has. The second is one file for everybody
# and takes what nearly every processor has.
#
# Wide instructions need many numbers at hand. When a prompt is **read**, each weight is fetched once for all
# of its tokens. When an answer is **written**, each weight is fetched for one token, and the arithmetic
# waits for memory. How many times as fast is reading?

# %%
guess = None  # reading speed over writing speed, for example 2

REPORT = "\n".join(f"On day {day} the ferry carried {day * 37 % 211} passengers and {day * 13 % 29} bicycles."
                   for day in range(1, 21))
unread = slm.chat(f"{REPORT}\nWhich day was the best?", max_tokens=24)
reading = unread.usage.prompt_tokens / unread.timing.ttft_s
writing = unread.timing.tokens_per_s
print(f"read {unread.usage.prompt_tokens} tokens at {reading:.0f} tokens/s, wrote at {writing:.0f} tokens/s")
predict("Reading over writing", guess, round(reading / writing, 1), "times")
assert reading > writing

# %% [markdown]
# ## Threads
# Every layer's work is cut into equal parts, one for each thread, and all threads wait for the slowest part
# before the next layer begins. This happens some hundred times a token. So a thread without a core of its
# own holds up all the others. How fast are twice as many threads as cores, compared with one per core?

# %%
guess = None  # speed with twice the threads, over the speed with one per core

cores = usable_cores()
counts = sorted({1, max(1, cores // 2), cores, cores + 1, 2 * cores})
speeds = dict.fromkeys(counts, 0.0)
for _ in range(2):                      # in turns, and the better of two: others use this machine too
    for count in counts:
        with lk.connect(threads=count, context_length=512) as other:
            reply = other.chat("Count from one to fifty.", max_tokens=16)
        speeds[count] = max(speeds[count], reply.timing.tokens_per_s)
predict("Twice the threads", guess, round(speeds[2 * cores] / speeds[cores], 2), "times the speed")

# %%
figure, axes = plt.subplots()
axes.plot(counts, [speeds[count] for count in counts], "o-")
axes.axvline(cores, color="gray", linestyle=":", label=f"cores of this machine: {cores}")
axes.set(xlabel="threads", ylabel="writing speed (tokens/s)", xticks=counts, ylim=(0, None))
axes.legend()
alt(figure, "Writing speed by number of threads: "
            + ", ".join(f"{speeds[count]:.0f} tokens/s with {count}" for count in counts) + ".")

# %% [markdown]
# If your curve goes on rising beyond the cores, something else was at work here: more threads then get a larger
# share of the processor, at the others' cost. labkit takes one thread per physical core that this process may
# use, and has them sleep when they wait long.
#
# ## Context, and what it costs in memory
# For each token in the context the model keeps a **key** and a **value** in every layer: the KV cache. Its
# size follows from the file's metadata.

# %%
from labkit.models.budget import shape_of
from labkit.models.embedded import default_model

shape = shape_of(default_model())
KEY_AND_VALUE, F16_BYTES = 2, 2
bytes_per_token = shape.layers * shape.kv_heads * shape.head_dim * KEY_AND_VALUE * F16_BYTES
print(f"{shape.layers} layers × {shape.kv_heads} KV heads × {shape.head_dim} numbers × key and value × 2 bytes "
      f"= {bytes_per_token} bytes a token")

# %% [markdown]
# How much memory does a context of all 8192 tokens take? Multiply, or guess. Then the system is asked: how much
# does this process grow by, with a long context and with a short one?

# %%
guess = None  # megabytes for 8192 tokens

from labkit.profiling.memory import rss


def grown_by(context_length):
    before = rss()
    with lk.connect(context_length=context_length, threads=1) as other:
        other.chat("Hi", max_tokens=1)
        return rss() - before


grown_by(256)                           # once, so that what is shared is there
short, long = 1024, shape.context
measured = (grown_by(long) - grown_by(short)) / (long - short)
print(f"measured {measured:.0f} bytes a token, computed {bytes_per_token}")
predict("A full context", guess, round(bytes_per_token * long / 1e6), "MB")
assert 0.8 * bytes_per_token < measured < 1.3 * bytes_per_token

# %% [markdown]
# The whole context is taken at the start, used or not. So `context_length=` is the first setting to lower on a
# small machine.
#
# ## Questions about the same document
# What is in the cache need not be read again. A second question that begins with the same document pays for
# the new words only. Below, the time to the first token, for a first and a second question.

# %%
guess = None  # how many times as fast the second question's first token comes

NOTICE = "\n".join(f"Rule {i}: a visitor with a ticket for zone {i} may also enter zone {i * 3 % 17}."
                   for i in range(1, 16))
first = slm.chat(f"{NOTICE}\nMay I enter zone 3?", max_tokens=4)
second = slm.chat(f"{NOTICE}\nWhat does rule 5 say?", max_tokens=4)
for name, reply in (("first", first), ("second", second)):
    print(f"{name:7} {reply.usage.prompt_tokens} tokens, {reply.usage.cached_tokens} from the cache, "
          f"first token after {reply.timing.ttft_s * 1000:.0f} ms")
predict("The second question", guess, round(first.timing.ttft_s / second.timing.ttft_s, 1), "times as fast")
assert second.usage.cached_tokens > 0.8 * second.usage.prompt_tokens
assert second.timing.ttft_s < first.timing.ttft_s

# %% [markdown]
# Only the common **beginning** counts: put what stays the same first, and the question last.
#
# ## The server
# Now the same file in llama.cpp's server. labkit starts it inside this process, at an address that only this
# machine can reach. It has **slots**: so many answers are written at the same time.

# %%
server = lk.connect("llama.cpp-server", context_length=4096, slots=16)
reply = server.chat("What is the capital of France?", max_tokens=12)
address = server.backend.url
slots = httpx.get(f"{address}/slots").json()
print(reply.text, "|", len(slots), "slots |", server.capabilities)
assert len(slots) == 16 and "Paris" in reply.text

# %% [markdown]
# Anything that speaks OpenAI's API can ask it, and Prometheus can watch it at `/metrics`.

# %%
counters = httpx.get(f"{address}/metrics").text.splitlines()
for line in counters:
    if line.startswith(("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total", "llamacpp:n_decode")):
        print(line)

# %% [markdown]
# ## Many clients
# With 16 clients the server computes their next tokens in **one batch**: each weight is fetched once for all
# of them. A client that comes joins at the next step, one that is done leaves: **continuous batching**. The
# library inside the process takes one conversation after the other, a token each.
#
# How many times the tokens per second of one client do 16 clients get from the server, all together?

# %%
guess = None  # tokens/s of 16 clients together, over those of one

TOPICS = ("dragon", "ship", "baker", "robot", "queen", "farmer", "clock", "river",
          "wolf", "train", "violin", "garden", "comet", "bridge", "tiger", "lamp")


def together(chat, clients, tokens):
    """Every client asks a question of its own, all at once. Returns how many tokens were written."""
    replies = []
    threads = [threading.Thread(target=lambda topic=topic: replies.append(
        chat.chat(f"Tell me a story about a {topic}.", max_tokens=tokens))) for topic in TOPICS[:clients]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(reply.usage.completion_tokens for reply in replies)


def rates(chat, clients):
    """Tokens a second, and a second of processor time, of all clients together."""
    together(chat, clients, tokens=1)          # read the prompts before, so that only writing is measured
    started, worked = time.perf_counter(), time.process_time()
    written = together(chat, clients, tokens=24)
    return written / (time.perf_counter() - started), written / (time.process_time() - worked)


# %%
CLIENTS = (1, 4, 16)
measured = {name: {n: rates(chat, n) for n in CLIENTS} for name, chat in (("library", slm), ("server", server))}
found = {name: {n: pair[0] for n, pair in by_clients.items()} for name, by_clients in measured.items()}
predict("16 clients", guess, round(found["server"][16] / found["server"][1], 1), "times one client")

# %%
figure, axes = plt.subplots()
for name, rates in found.items():
    axes.plot(CLIENTS, list(rates.values()), label=name)
axes.set(xlabel="clients at once", ylabel="tokens/s, all together", xticks=CLIENTS, ylim=(0, None))
axes.legend()
alt(figure, "; ".join(f"{name}: " + ", ".join(f"{value:.0f} tokens/s for {n}" for n, value in rates.items())
                      for name, rates in found.items()) + ".")

# %% [markdown]
# What a second is worth depends on what else this machine does. A second of **processor time** does not: how
# many tokens come out of one?

# %%
for name, by_clients in measured.items():
    print(f"{name:8}", ", ".join(f"{pair[1]:.0f} with {n}" for n, pair in by_clients.items()), "clients")
assert measured["server"][16][1] > measured["server"][1][1]

# %% [markdown]
# ## Guessing ahead
# Writing waits for memory, and several tokens in one batch cost little more than one. So: guess the next few
# tokens cheaply, check them all in one batch, keep those that the model would have written itself. This is
# **speculative decoding**, and the text stays the model's own. The cheapest guess needs no second model: look
# where the last three tokens stood before, and propose what followed there.
#
# On which task does that help: copying a text, or telling a story? And by how much?

# %%
guess = None  # copying: tokens with guesses over tokens without, from a second of processor time

LIST = "six eggs, two bottles of milk, one loaf of dark bread, three green apples, four ripe tomatoes, " \
       "one bag of rice, five small onions, two bars of chocolate".replace(", ", "\n- ")
TASKS = {"copy": f"Copy this shopping list:\n- {LIST}", "story": "Tell me a story about a dragon."}
guessing = lk.connect("llama.cpp-server", context_length=1024, slots=2, ngram_draft=8)


def per_processor_second(chat, task):
    """(tokens from a second of processor time, the text)"""
    worked = time.process_time()
    reply = chat.chat(TASKS[task], max_tokens=48)
    return reply.usage.completion_tokens / (time.process_time() - worked), reply.text


def counter(name):
    lines = httpx.get(f"{guessing.backend.url}/metrics").text.splitlines()
    wanted = f"llamacpp:spec_decode_num_{name}_tokens_total"
    return next(int(float(line.split()[1])) for line in lines if line.split()[0] == wanted)


# %%
rows, gains, kept, same_text = [], {}, {}, {}
for task in TASKS:
    drafted, accepted = counter("draft"), counter("accepted")
    turns = [[per_processor_second(chat, task) for chat in (server, guessing)] for _ in range(3)]
    plain, guessed = (statistics.median(rate for rate, _ in column) for column in zip(*turns, strict=True))
    drafted, kept[task] = counter("draft") - drafted, counter("accepted") - accepted
    gains[task], same_text[task] = guessed / plain, turns[-1][0][1] == turns[-1][1][1]
    rows.append((task, f"{plain:.0f}", f"{guessed:.0f}", f"{kept[task]} of {drafted}", str(same_text[task])))
guessing.close()
assert kept["copy"] > kept["story"]
predict("Copying, with guesses", guess, round(gains["copy"], 2), "times as many tokens")
Table(("task", "tokens a processor second", "with guesses", "guesses kept", "same text"), tuple(rows))

# %% [markdown]
# A guess that is wrong costs: its tokens were computed for nothing. Where texts repeat (copying, editing,
# quoting a document, code), guesses pay. Where they do not, there is little to find and little to gain.
#
# ## Library or server?
# The library is nearer: no HTTP, and the first token comes sooner. What does the way through the server cost?
# The same short question, in turns, and the median.

# %%
def first_token_ms(chat):
    return 1000 * chat.chat("Hi", max_tokens=1).timing.ttft_s


pairs = [(first_token_ms(slm), first_token_ms(server)) for _ in range(12)]
in_process, over_http = (statistics.median(column) for column in zip(*pairs, strict=True))
rows = [
    ("first token, short prompt", f"{in_process:.0f} ms", f"{over_http:.0f} ms"),
    *((f"{n} client{'s' * (n > 1)}", f"{found['library'][n]:.0f} tokens/s", f"{found['server'][n]:.0f} tokens/s")
      for n in CLIENTS),
    ("asked from", "this process", "any program, over HTTP"),
    ("the scores of all tokens", "yes: masks, sampling of your own", "only those of the likeliest"),
    ("take it for", "one user, a notebook, an app", "several clients, other languages"),
]
Table(("", "library", "server"), tuple(rows), note="Measured above, on this machine.")

# %% [markdown]
# ## One list of settings, many runtimes
# A guide for such courses gives eight settings of a model in one object: quantisation, context length, batch
# size, threads, GPU layers, memory lock, NUMA. No runtime takes all of them. Which takes which? The table is
# made from the connectors' own signatures. `connect()` refuses a setting that a runtime does not have; it
# never drops one silently.

# %%
from labkit.backends.registry import backend_class

SETTINGS = {"context_length": "tokens of prompt and answer", "batch_tokens": "tokens of a prompt read at a time",
            "slots": "answers written at once", "threads": "processor threads",
            "gpu_layers": "layers put on a GPU", "memory_lock": "weights stay in RAM, never swapped",
            "numa": "where memory lies, on several sockets", "base_url": "a server elsewhere"}
NAMES = [backend.name for backend in lk.backends()]
taken = {name: inspect.signature(backend_class(name)).parameters for name in NAMES}
Table(("setting", *NAMES), tuple((setting, *("yes" if setting in taken[name] else "" for name in NAMES))
                                 for setting in SETTINGS), note="; ".join(f"{k}: {v}" for k, v in SETTINGS.items()))

# %%
try:
    lk.connect("llama.cpp", numa="distribute")
except lk.BadRequest as error:
    print(error)
print("devices here:", ", ".join(device["name"] for device in xllamacpp.get_device_info()))

# %% [markdown]
# Quantisation is missing from the list on purpose: it is a property of the file, chosen when the file is made.
#
# The size of a **batch** is one of these settings with an effect that is easy to see. The same prompt, read
# 16 tokens at a time and 256 at a time:

# %%
batches = {}
for batch_tokens in (16, 256):
    with lk.connect("llama.cpp-server", context_length=1024, slots=1, batch_tokens=batch_tokens) as other:
        other.chat("Hi", max_tokens=1)
        worked = time.process_time()
        usage = other.chat(f"{NOTICE}\nMay I?", max_tokens=1).usage
        batches[batch_tokens] = (usage.prompt_tokens - usage.cached_tokens) / (time.process_time() - worked)
for batch_tokens, read in batches.items():
    print(f"{batch_tokens:3} at a time: {read:4.0f} tokens read in a second of processor time")

# %% [markdown]
# ## Exercises
# **05.1** Write `kv_bytes(layers, kv_heads, head_dim, tokens, bytes_per_number=2)`: the size of the KV cache in
# bytes for that many tokens. Mind that a key *and* a value are kept.

# %%
def kv_bytes(layers, kv_heads, head_dim, tokens, bytes_per_number=2):
    # solution
    return 2 * layers * kv_heads * head_dim * tokens * bytes_per_number
    # end
    #~ ...

# %%
check("05.1", kv_bytes)

# %% [markdown]
# **05.2** Write `guess_next(tokens, n, most)`: the guess of the last section. Take the last `n` tokens, find the
# latest place before where the same `n` stood, and return up to `most` tokens that followed there. Return an
# empty list when there is no such place.

# %%
def guess_next(tokens, n, most):
    # solution
    tail = tokens[-n:]
    for start in range(len(tokens) - n - 1, -1, -1):
        if tokens[start:start + n] == tail:
            return tokens[start + n:start + n + most]
    return []
    # end
    #~ ...

# %%
check("05.2", guess_next)

# %% [markdown]
# **05.3** How many slots does a service need? If `requests_per_s` come in, and an answer takes `seconds`, then on
# average `requests_per_s × seconds` answers are being written (Little's law). But the context is shared: with
# `tokens_each` per conversation, only so many fit into `context_length`. Write
# `slots_needed(requests_per_s, seconds, tokens_each, context_length)`: that number, at least 1, a whole
# number, and never more than fit.

# %%
def slots_needed(requests_per_s, seconds, tokens_each, context_length):
    # solution
    wanted = int(np.ceil(requests_per_s * seconds))
    return max(1, min(wanted, context_length // tokens_each))
    # end
    #~ ...

# %%
check("05.3", slots_needed)

# %%
server.close()

# %% [markdown]
# ## What you have seen
# - Reading a prompt is arithmetic, and wide instructions make it fast. Writing is fetching weights, and memory
#   sets its pace.
# - One thread per core. More threads wait for each other.
# - The context costs a fixed number of bytes per token, taken at the start.
# - What stands at the beginning of two prompts is read once.
# - Several tokens in one batch cost little more than one. Continuous batching gives them to many clients,
#   speculative decoding to one client, where the text repeats itself.
# - A library for one user, a server for many.
#
# Lesson 08 shows a server that was built for batches from the start.
