# %% [markdown]
# # 06 · Ollama
#
# In the lessons so far the model lived inside your program. Most people meet small models another way: a
# program of its own runs in the background, keeps models on disk, loads them when asked, and answers over
# HTTP. **Ollama** is the best known of these.
#
# What does such a service do for you, and what does a request through it cost? You find out by its own
# figures and by your own clock.

# %%
import json
import time

import matplotlib.pyplot as plt
import ollama

import labkit as lk
from labkit.backends import ollama_models
from labkit.course import alt, check, plot_style, predict
from labkit.serving.stand_in import ollama_or_stand_in
from labkit.table import Table, size

plot_style()

# %% [markdown]
# ## Is there one here?
# If an Ollama with a model answers on this machine, this lesson uses it. If none does, `labkit serve` stands in: it
# speaks Ollama's API with the course's own model behind it. Every request below goes over HTTP through
# Ollama's official Python client, either way. Where the stand-in cannot do what Ollama does, the lesson says so.

# %%
place = ollama_or_stand_in()
client = ollama.Client(place.base_url)
model = place.model
print(place)

# %% [markdown]
# To use Ollama itself: install it from its site, run `ollama serve`, then `ollama pull smollm2:135m`, and run
# this notebook again.
#
# ## What is on disk, what is in memory
# `list` is what Ollama keeps on disk. `ps` is what it has loaded now. `show` says what a model is.

# %%
client.generate(model, "")        # an empty prompt only loads the model
rows = [(m.model, size(m.size), m.details.parameter_size or "?", m.details.quantization_level or "?",
         "yes" if m.model in ollama_models.loaded(client) else "no") for m in client.list().models]
Table(("model", "on disk", "parameters", "format", "loaded"), tuple(rows))

# %%
about = client.show(model)
print("can do: ", ", ".join(about.capabilities or []))
print("context:", next((n for key, n in about.modelinfo.items() if key.endswith(".context_length")), "?"), "tokens")
print("its chat template begins:", repr((about.template or "")[:60]))
assert "completion" in about.capabilities

# %% [markdown]
# A name in Ollama has a tag: `qwen2.5:0.5b-instruct-q4_K_M` is the model, its size, its kind and its
# quantisation. Without a tag you get `latest`, which is whatever its maker put there, and may be another file
# tomorrow. Name the tag in anything you want to repeat.
#
# ## Pull
# Ollama downloads a model with `pull` and reports progress as it goes. The stand-in serves one model
# and cannot fetch others. Its refusal is an ordinary error of the client.

# %%
wanted = model if place.real else "qwen2.5:0.5b-instruct-q4_K_M"
try:
    ollama_models.pull(client, wanted)     # with a progress bar
    print(wanted, "is here")
except ollama.ResponseError as error:
    print(f"refused ({error.status_code}):", error.error)

# %% [markdown]
# ## Chat and generate
# Two ways to ask. `chat` takes a conversation, `generate` a single prompt. Both apply the model's template.

# %%
question = "What is the capital of France?"
greedy = {"temperature": 0, "num_predict": 40}     # without it a real Ollama samples at temperature 0.8
said = client.chat(model, [{"role": "user", "content": question}], options=greedy)
wrote = client.generate(model, question, options=greedy)
print("chat:    ", said.message.content)
print("generate:", wrote.response)
assert said.message.content and wrote.response

# %% [markdown]
# On the wire an answer is a stream of lines, each one JSON. This is what any language without a client library
# would have to read. The last line carries the counts.

# %%
import httpx

body = {"model": model, "messages": [{"role": "user", "content": "Hi!"}], "options": {**greedy, "num_predict": 4}}
lines = httpx.post(f"{place.base_url}/api/chat", json=body, timeout=60).text.splitlines()
for line in lines:
    part = json.loads(line)
    print(part["done"], repr(part["message"]["content"]),
          {key: value for key, value in part.items() if key in ("eval_count", "eval_duration") and part["done"]})
assert json.loads(lines[-1])["done"] is True

# %% [markdown]
# ## Where the time goes
# The last line says how long the service took to load the model, to read your prompt and to write the answer,
# in nanoseconds, by its own clock. Your program also has a clock. The two cannot agree: between them are HTTP,
# JSON, and the service's own bookkeeping.
#
# An answer of 32 tokens takes a few hundred milliseconds. How many milliseconds of that are outside the model?

# %%
guess = None  # your guess, in milliseconds


def timed(tokens):
    """(time by our clock in s, where it went by the service's)."""
    started = time.perf_counter()
    options = {"temperature": 0, "num_predict": tokens}
    response = client.chat(model, [{"role": "user", "content": "Tell me a story about a dragon."}], options=options)
    return time.perf_counter() - started, ollama_models.spent(response)


def outside(run):
    """What our clock saw and the model did not do (ms)."""
    ours, spent = run
    return 1000 * (ours - spent.load_s - spent.prompt_s - spent.answer_s)


timed(1)                                           # load and warm up
runs = {n: sorted((timed(n) for _ in range(5)), key=outside)[2] for n in (4, 8, 16, 32)}
outside_ms = outside(runs[32])
predict("Outside the model, in an answer of 32 tokens", guess, round(outside_ms, 1), "ms")

# %%
rows = [(str(s.answer_tokens), f"{1000 * ours:.1f}", f"{1000 * s.prompt_s:.1f}", f"{1000 * s.answer_s:.1f}",
         f"{outside((ours, s)):.1f}", f"{s.tokens_per_s:.0f}") for ours, s in runs.values()]
assert all(outside(run) > 0 for run in runs.values())
Table(("tokens", "our clock ms", "read ms", "write ms", "outside ms", "tokens/s"), tuple(rows),
      "Of five answers each, the one in the middle" + ("" if place.real else ", by the stand-in"))

# %%
names = [str(s.answer_tokens) for _, s in runs.values()]
parts = {"reading the prompt": [1000 * s.prompt_s for _, s in runs.values()],
         "writing the answer": [1000 * s.answer_s for _, s in runs.values()],
         "outside the model": [outside(run) for run in runs.values()]}
figure, axes = plt.subplots()
base = [0.0] * len(names)
looks = [("#dddddd", ""), ("#8fb3d9", "///"), ("#333333", "")]
for (label, values), (colour, hatch) in zip(parts.items(), looks, strict=True):
    axes.bar(names, values, bottom=base, label=label, color=colour, hatch=hatch, edgecolor="black", width=0.55)
    base = [b + v for b, v in zip(base, values, strict=True)]
axes.set(xlabel="tokens in the answer", ylabel="time by our clock (ms)")
axes.legend(loc="upper left")
shares = [100 * v / b for v, b in zip(parts["outside the model"], base, strict=True)]
alt(figure, f"Time of an answer by its length: reading the prompt, writing the answer, and what is outside the "
            f"model, which is {shares[0]:.0f} % of the shortest answer and {shares[-1]:.0f} % of the longest.")

# %% [markdown]
# The part outside the model hardly grows with the answer, so it matters least where answers are long. The
# speed that `ollama run --verbose` prints is the one in the last column: tokens written, divided by the time spent
# writing, with loading and reading left out.

# %%
def speed(response):
    # solution
    if not response["eval_duration"]:
        return float("nan")
    return response["eval_count"] / (response["eval_duration"] / 1e9)
    # end
    #~ ...  # tokens per second of writing, from eval_count and eval_duration (ns)

# %%
check("06.1", speed)

# %% [markdown]
# ## Keep-alive
# After an answer Ollama keeps a model in memory for five minutes, then lets it go. `keep_alive` says otherwise:
# `"30m"`, `-1` for always, `0` for not at all. A model that is gone must be loaded before the next answer,
# and that shows as `load_duration`.

# %%
def load_ms():
    response = client.chat(model, [{"role": "user", "content": "Hi"}], options={"num_predict": 1})
    return ollama_models.spent(response).load_s * 1000


warm = load_ms()
ollama_models.unload(client, model)
time.sleep(0.5)
still_loaded, cold = model in ollama_models.loaded(client), load_ms()
print(f"loading took {warm:.0f} ms when it was in memory, and {cold:.0f} ms after unloading")
print("after unloading it was", "still loaded" if still_loaded else "gone from memory")
if not place.real:
    print("The stand-in accepts keep_alive and keeps its one model all the same. Ollama would have let it go.")
assert place.real or still_loaded

# %% [markdown]
# For an agent that is asked once an hour, keep-alive is the choice between memory held all day and seconds of
# waiting on every first answer.
#
# ## A model of your own
# A **Modelfile** gives a model a name with a system message and options built in. It holds no new weights. From
# Python that is `create`. The stand-in makes no models, and says so.

# %%
recipe = {"system": "You answer in one short sentence.", "parameters": {"temperature": 0, "num_predict": 30}}
try:
    client.create("labkit-brief", from_=model, **recipe)
    named = client.chat("labkit-brief", [{"role": "user", "content": question}]).message.content
    client.delete("labkit-brief")
except ollama.ResponseError as error:
    named = None
    print(f"refused ({error.status_code}):", error.error)

# %% [markdown]
# What such a name does you can also do in each request: send the system message and the options along. That
# works on every service and keeps the recipe in your own code, where it is versioned with the rest.

# %%
messages = [{"role": "system", "content": recipe["system"]}, {"role": "user", "content": question}]
sent_along = client.chat(model, messages, options=recipe["parameters"]).message.content
print("sent along:", sent_along)
print("by name:   ", named if named is not None else "(not possible on the stand-in)")
assert sent_along

# %% [markdown]
# The weights themselves can be your own too: `ollama_models.create_from_gguf(client, "mine", "model.gguf")` sends
# a GGUF file to Ollama and gives it a name. With Ollama running, this offers it the course's model:
#
# ```python
# from labkit.models.embedded import default_model
# ollama_models.create_from_gguf(client, "course-model", default_model())
# ```
#
# ## A stream that may fail
# A service can run out of memory in the middle of an answer, when status 200 has long been sent. Ollama then
# writes a line `{"error": "..."}`. The guide's download helper looks at the status alone, and calls such a
# model ready. Write a reader that does not make that mistake.

# %%
def read_stream(lines):
    # solution
    text = ""
    for line in lines:
        part = json.loads(line)
        if "error" in part:
            raise RuntimeError(part["error"])
        text += part["message"]["content"]
        if part["done"]:
            return text
    raise RuntimeError("the stream ended before the answer did")
    # end
    #~ ...  # the whole text; RuntimeError for an {"error": ...} line, or when no line says "done": true

# %%
check("06.2", read_stream)

# %% [markdown]
# ## OpenAI's routes
# Ollama also answers at `/v1`, in the form that OpenAI made common. A program written for that form needs a new
# address and nothing else. The key is not looked at, but OpenAI's client wants one.

# %%
import openai

with openai.OpenAI(base_url=f"{place.base_url}/v1", api_key="not-looked-at") as other:
    whole = other.chat.completions.create(model=model, messages=[{"role": "user", "content": question}],
                                          temperature=0, max_tokens=40)
print("by OpenAI's route:", whole.choices[0].message.content)
print("by Ollama's route:", said.message.content)
assert whole.choices[0].message.content
assert place.real or whole.choices[0].message.content == said.message.content

# %% [markdown]
# ## Embeddings
# `embed` turns a text into a list of numbers, so that texts can be compared. Real embedding models are
# trained for it; a chat model is not. This one was asked anyway.

# %%
texts = ["The cat sat on the mat.", "A kitten sits on a rug.", "Interest rates rose in May."]
try:
    cat, kitten, rates = client.embed(model, texts).embeddings
    nearness = [sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, rates)]
    print(f"{len(cat)} numbers a text; cat and kitten {nearness[0]:.2f}, cat and interest rates {nearness[1]:.2f}")
except ollama.ResponseError as error:
    print("this model does not embed:", error.error)

# %% [markdown]
# ## Tools
# Ollama's client turns a Python function into a tool from its docstring. Whether the model makes use of it is
# the model's affair: a real Ollama offers the tools in the model's own template, and a small model may answer in
# words, or invent. The stand-in decodes under a constraint, as lesson 02 did, so a call is always valid.

# %%
def order_status(order_id: str) -> str:
    """Status of an order.

    Args:
        order_id: like A-1042
    """
    return {"A-1042": "shipped on Monday"}.get(order_id, "not found")


conversation = [{"role": "user", "content": "Where is my order A-1042?"}]
try:
    turn = client.chat(model, conversation, tools=[order_status], options=greedy)
    print("calls:", [(c.function.name, dict(c.function.arguments)) for c in turn.message.tool_calls or []])
    assert place.real or turn.message.tool_calls[0].function.arguments == {"order_id": "A-1042"}
except ollama.ResponseError as error:      # some of Ollama's models take no tools
    print("refused:", error.error)

# %% [markdown]
# labkit's own connector does not rely on the model's training: it asks Ollama to hold the answer to a schema
# (`format=`), whatever the model is. So the same line works with every model in your Ollama. First, what the
# connector found out by trying:

# %%
slm = lk.connect("ollama", model=model, base_url=place.base_url)
print(slm.capabilities)
reply = slm.chat("Where is my order A-1042?", tools=[order_status], tool_choice="required")
print(reply.tool_calls[0])
assert reply.tool_calls[0].arguments == {"order_id": "A-1042"}

# %% [markdown]
# The result of a call goes back to the model as a message of the role `tool`. Ollama's form has the tool's name
# and the content as text.

# %%
def run_calls(message, tools):
    # solution
    results = []
    for call in message.get("tool_calls") or []:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        content = json.dumps(tools[name](**arguments)) if name in tools else f"Error: there is no tool {name}"
        results.append({"role": "tool", "tool_name": name, "content": content})
    return results
    # end
    #~ ...  # a list of {"role": "tool", "tool_name": ..., "content": JSON text}, one a call

# %%
check("06.3", run_calls)

# %% [markdown]
# ## Which model for which task
# With many models a pull away, something must choose. The guide sorts tasks into four kinds by the words in
# them, the first match wins, and each kind has a model. Here is that rule, on tasks written for this lesson.
# Of eight, how many land where a person would put them?

# %%
guess = None  # your guess, 0 to 8

RULE = [("light", ("simple", "route", "classify")), ("coding", ("code", "programming", "debug")),
        ("capable", ("complex", "analysis", "research"))]
TASKS = {"Classify this e-mail as spam or not": "light", "Write a Python function that sorts dates": "coding",
         "Why does this SQL query return nothing?": "coding", "Explain this simple code bug": "coding",
         "Plan a route through five cities with time windows": "capable", "Say hello to the customer": "light",
         "Compare three pension plans and recommend one": "capable", "Do a complex analysis of churn": "capable"}


def by_words(task):
    return next((kind for kind, words in RULE if any(word in task.lower() for word in words)), "balanced")


found = {task: by_words(task) for task in TASKS}
right = sum(found[task] == wanted for task, wanted in TASKS.items())
predict("Tasks sorted as a person would", guess, right, f"of {len(TASKS)}")
Table(("task", "by words", "by a person"), tuple((t, found[t], TASKS[t]) for t in TASKS))

# %% [markdown]
# The words in a task say little about how hard it is. A later lesson replaces this rule by a classifier that is
# trained and tested. There is more: the guide's model for "capable", a Llama of 3 billion parameters, is
# smaller than its model for "balanced", a Phi of 3.8 billion. And a recommendation for hardware is worth something
# only when it looks at the hardware. The course keeps sizes and roles in a catalogue, and picks by the memory that is
# free on this machine now and by the speed to expect from its cores.

# %%
from labkit.models import catalogue

picked = [catalogue.pick(role, runtime="ollama") for role in ("routing", "conversation", "reasoning", "code")]
Table(("role", "model here", "memory", "get it"),
      tuple((p.role, p.alias, size(p.entry.memory_bytes("ollama")), p.variant.how) for p in picked),
      "What the catalogue picks for this machine")

# %%
for choice in picked:
    print(f"{choice.role:13} {choice.reasoning}")

# %% [markdown]
# ## What you have seen
# - A service keeps models on disk, loads them on demand and lets them go; `keep_alive` is the price of waiting
#   against the price of memory.
# - Its own durations say where the time goes. What HTTP adds is small next to the model, and does not grow with the
#   answer.
# - A Modelfile is a name for a system message and options. You can send both along instead.
# - A stream can fail after status 200. Read it to its end.
# - The same program talks to Ollama, to the stand-in and to anything with OpenAI's routes.

# %%
place.close()
