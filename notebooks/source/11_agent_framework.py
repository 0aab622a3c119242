# %% [markdown]
# # 11 · The same agent in a real framework
#
# Until now the agent's loop was labkit's own, short enough to read. Companies use a framework: it brings sessions,
# middleware, traces and workflows. Can a model of 135 million parameters drive one? This lesson builds one agent
# twice, in labkit and in **Microsoft Agent Framework**, over the same model.

# %%
import json
import statistics
import subprocess
import sys
import tempfile
import time

import matplotlib.pyplot as plt
from agent_framework import Agent, function_middleware, tool
from agent_framework.openai import OpenAIChatCompletionClient
from pydantic import BaseModel

import labkit as lk
from labkit.agents.agent_framework import LabkitChatClient
from labkit.course import HATCHES, alt, check, plot_style, predict
from labkit.table import Table
from labkit.widgets import AgentBuilder

plot_style()
slm = lk.connect()

# %% [markdown]
# ## One agent, twice
# First labkit's loop: a model, tools, instructions.

# %%
ORDERS = {"A-1042": "shipped on Monday", "B-2077": "waiting for payment"}


def order_status(order_id: str) -> str:
    """Status of an order."""
    return ORDERS[order_id]


own = lk.Agent(slm, tools=[order_status], instructions="You help customers.")
run = own.run("Where is my order A-1042?")
run

# %% [markdown]
# Now the framework. Its `Agent` wants a *chat client*: whatever turns messages into an answer. labkit's is
# `LabkitChatClient`; everything else below is the framework's. `approval_mode` says that nobody has to agree before
# the tool runs. The framework is asynchronous, so its calls are awaited.

# %%
look_up = tool(order_status, approval_mode="never_require")
client = LabkitChatClient(slm)
agent = Agent(client, "You help customers.", name="desk", tools=[look_up])

answer = await agent.run("Where is my order A-1042?")
answer.text

# %%
for message in answer.messages:
    for part in message.contents:
        print(f"{message.role:10} {part.type:16} {part.text or part.name or part.result}")

# %% [markdown]
# The same three steps: the model asks for the tool, the tool runs, the model answers. It is the same model with the
# same prompt, so the call is the same one.

# %%
framework_call = answer.messages[0].contents[0]
assert framework_call.name == run.calls[0].name
assert framework_call.parse_arguments() == run.calls[0].arguments
print(run.calls[0])

# %% [markdown]
# ## Why not the framework's own client?
# It has one for every server that speaks OpenAI's protocol. Below it talks to llama.cpp's server, which runs the
# same weights and is offered the same tool. What will it do with the tool?

# %%
guess = None  # "call it", or "leave it out"

server = lk.connect("llama.cpp-server")
stock = OpenAIChatCompletionClient(model=server.model, base_url=server.backend.base_url, api_key="none")
unaided = await Agent(stock, "You help customers.", tools=[look_up]).run(
    "Where is my order A-1042?", options={"max_tokens": 60, "temperature": 0.0})
called = any(part.type == "function_call" for message in unaided.messages for part in message.contents)
predict("The framework's own client will", guess, "call it" if called else "leave it out")
print(unaided.text)

# %% [markdown]
# The model's chat template has no place for tools, so the server leaves them out without a word. The answer reads
# well, and nobody has looked anything up. The framework cannot know. labkit's client, on the very same server:

# %%
same_server = await Agent(LabkitChatClient(server), "You help customers.", tools=[look_up]).run(
    "Where is my order A-1042?")
print(same_server.text)
server.close()
assert not called and same_server.messages[0].contents[0].name == "order_status"

# %% [markdown]
# ## What does the framework cost?
# Ask for one short answer directly, then through the framework's agent, in turn. How many milliseconds will the
# framework add to a turn?

# %%
guess = None  # milliseconds


async def through_the_framework():
    await plain.run("Say yes.", options={"max_tokens": 3, "temperature": 0.0})

plain = Agent(client)
direct_s, framework_s = [], []
for _ in range(15):
    began = time.perf_counter()
    slm.chat("Say yes.", max_tokens=3)
    direct_s.append(time.perf_counter() - began)
    began = time.perf_counter()
    await through_the_framework()
    framework_s.append(time.perf_counter() - began)
added = 1000 * statistics.median(b - a for a, b in zip(direct_s, framework_s))
predict("The framework adds", guess, round(added, 1), "ms a turn")
for how, took in (("directly", direct_s), ("through the framework", framework_s)):
    print(f"{how}: {1000 * statistics.median(took):.0f} ms")

# %% [markdown]
# The model takes nearly all of the time. What a framework costs is not milliseconds: it is 50 000 lines that you did
# not write and now depend on.
#
# ## Middleware: somebody watches
# A **middleware** stands around every call of a tool. It sees the arguments before, the result after, and may refuse.
# Here is one that writes an audit log, and one that guards.

# %%
log = []


def words(result):
    return result if isinstance(result, str) else " ".join(str(part.text) for part in result)


@function_middleware
async def audit(context, call_next):
    began = time.perf_counter()
    await call_next()
    log.append({"tool": context.function.name, "arguments": dict(context.arguments),
                "result": words(context.result), "ms": round(1000 * (time.perf_counter() - began), 1)})


watched = Agent(client, "You help customers.", tools=[look_up], middleware=[audit])
await watched.run("Where is my order B-2077?")
print(json.dumps(log, indent=1))

# %%
@function_middleware
async def only_a_orders(context, call_next):
    if context.arguments["order_id"].startswith("A-"):
        await call_next()
    else:
        context.result = "Refused: this desk may look up orders of series A only."


guarded = Agent(client, "You help customers.", tools=[look_up], middleware=[audit, only_a_orders])
print((await guarded.run("Where is my order B-2077?")).text)
print("in the log:", log[-1]["result"])
assert log[-1]["result"].startswith("Refused")

# %% [markdown]
# The tool did not run; the audit saw the refusal, because it stands outside the guard. The rule holds whatever the
# model says, and that is where rules belong.
#
# ## Sessions: it remembers
# An agent keeps nothing between two runs. A **session** does: it carries the conversation. Without one the second
# question stands alone.

# %%
session = watched.create_session()
await watched.run("Where is my order A-1042?", session=session)
kept = session.state["in_memory"]["messages"]
print(len(kept), "messages kept:", [message.role for message in kept])
assert len(kept) == 4

# %% [markdown]
# A session is data, so it can go into a file and come back in another process.

# %%
stored = json.dumps(session.to_dict(), default=str)
again = type(session).from_dict(json.loads(stored))
print(f"{len(stored)} characters")
assert [m.role for m in again.state["in_memory"]["messages"]] == [m.role for m in kept]

# %% [markdown]
# ## Structured answers, and answers as they come
# `response_format` takes a pydantic model. The framework only asks for it; that the answer fits is labkit's work, which
# constrains the decoding.

# %%
class Order(BaseModel):
    number: str
    state: str


found = await Agent(client).run("Order A-1042 was shipped on Monday.",
                                options={"response_format": Order, "max_tokens": 60})
assert isinstance(found.value, Order)
found.value

# %% [markdown]
# It fits, and look at its content: a schema promises the form, never the truth.

# %%
async for update in agent.run("Where is my order A-1042?", stream=True):
    if update.text:
        print(update.text, end="|")

# %% [markdown]
# ## Traces: where did the time go?
# The framework writes **spans** in the field's common form, OpenTelemetry: one for the agent's run, inside it one
# for each answer of the model and each tool. We keep them in memory; a company sends them to a server.

# %%
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)

await agent.run("Where is my order A-1042?")
spans = sorted(memory.get_finished_spans(), key=lambda span: span.start_time)
begin = spans[0].start_time
rows = [(span.name.split()[0], f"{(span.start_time - begin) / 1e6:.1f}",
         f"{(span.end_time - span.start_time) / 1e6:.1f}",
         str(span.attributes.get("gen_ai.usage.output_tokens", ""))) for span in spans]
Table(("span", "begins, ms", "takes, ms", "output tokens"), tuple(rows))

# %%
figure, axes = plt.subplots(figsize=(6.5, 0.8 + 0.4 * len(spans)))
names = [span.name.split()[0] for span in spans]
for i, span in enumerate(spans):
    axes.barh(i, (span.end_time - span.start_time) / 1e6, left=(span.start_time - begin) / 1e6,
              color="white", edgecolor="black", hatch=HATCHES[sorted(set(names)).index(names[i])])
axes.set_yticks(range(len(spans)), names)
axes.invert_yaxis()
axes.set_xlabel("ms since the run began")
alt(figure, "When each span began and how long it took: " + "; ".join(
    f"{name} from {start} for {took} ms" for name, start, took, _ in rows) + ".")
assert sorted(names) == ["chat", "chat", "execute_tool", "invoke_agent"]

# %% [markdown]
# ## What is not better
# The framework does not make the model cleverer. It cannot see that a small model forgets what was said two turns
# ago, and an agent with ten tools and a long conversation fails in it as it fails in our own loop.

# %%
session = agent.create_session()
await agent.run("My name is Ada.", session=session)
print((await agent.run("What is my name?", session=session)).text)

# %% [markdown]
# ## Put one together by hand
# An agent is a model, instructions, tools and limits. That can be data. In the builder below you choose, run, and look
# at the trace; everything also works from code, as here. The tool's code must stand alone, since it will travel.

# %%
def opening_hours(day: str) -> str:
    """When the shop is open. Args: day: day of the week."""
    hours = {"Saturday": "10 to 14", "Sunday": "closed"}
    return f"On {day}: {hours.get(day, '9 to 18')}."


builder = AgentBuilder([opening_hours], slm=slm, instructions="You help customers.")
builder.name.value, builder.max_tokens.value = "shop desk", 60
done = builder.run("When are you open on Saturday?")
builder

# %% [markdown]
# The button **Export** writes two files: the recipe in YAML, and the tools' code in Python. They need no notebook. The
# cell runs them in another process and compares.

# %%
made, code = builder.export(tempfile.mkdtemp())
print(made.read_text(encoding="utf-8"))
command = [sys.executable, "-m", "labkit", "agent", str(made), "When are you open on Saturday?"]
headless = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
print(headless.stdout)
assert done.text in headless.stdout

# %% [markdown]
# A file that people edit will one day hold nonsense. The error then names the line.

# %%
made.write_text(made.read_text(encoding="utf-8").replace("max_steps: 6", "max_steps: many"), encoding="utf-8")
broken = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
print(broken.stderr)
assert "limits.max_steps" in broken.stderr and broken.returncode == 2

# %% [markdown]
# ## Exercises
# **11.1** An audit log must not hold what it should not know. Write `clean(arguments, secret)`: a copy in which the
# value of every key that is in `secret` is `"***"`, also in dicts inside.

# %%
def clean(arguments, secret):
    # solution
    return {key: "***" if key in secret else clean(value, secret) if isinstance(value, dict) else value
            for key, value in arguments.items()}
    # end
    #~ ...

# %%
check("11.1", clean)

# %% [markdown]
# **11.2** Spans lie inside each other, so their times must not be added up. Write `own_time(spans)`: for spans
# `(name, parent, begin, end)`, where `parent` is a name or `None`, a dict from name to the time that a span took
# *without* its children. No two spans have one name.

# %%
def own_time(spans):
    # solution
    took = {name: end - begin for name, _, begin, end in spans}
    for _, parent, begin, end in spans:
        if parent is not None:
            took[parent] -= end - begin
    return took
    # end
    #~ ...

# %%
check("11.2", own_time)

# %% [markdown]
# **11.3** A session grows with every turn, and a small context fills up. Write `shorten(messages, most)`: keep a
# first message of role `"system"`, if there is one, and of the others the last `most`. But never begin with a result:
# drop messages of role `"tool"` from the front of what is left, for they answer a call that is gone.

# %%
def shorten(messages, most):
    # solution
    head = [m for m in messages[:1] if m["role"] == "system"]
    rest = messages[len(head):]
    rest = rest[max(0, len(rest) - most):]
    while rest and rest[0]["role"] == "tool":
        rest = rest[1:]
    return head + rest
    # end
    #~ ...

# %%
check("11.3", shorten)

# %% [markdown]
# ## What you have seen
# - A framework is a loop with sessions, middleware and traces around it. The model behind it is up to you.
# - A framework trusts the model to call tools. With a small model somebody must see to it: the chat client does.
# - Rules belong into middleware, which holds whatever the model says.
# - Its cost in time is small beside the model's. Lesson 12 lets several of its agents work together.
