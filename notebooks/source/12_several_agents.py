# %% [markdown]
# # 12 · Several agents together
#
# One agent with thirty tools gets lost, a small one first of all. So people build several: a reception that sends a
# request on, specialists with a few tools each. How do they find the right one, does working side by side make them
# faster, and what if they only talk to each other? The workflows are Microsoft Agent Framework's, the model is ours.

# %%
import time

from agent_framework import (
    Agent,
    AgentExecutorRequest,
    Case,
    Default,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    executor,
    tool,
)
from agent_framework_orchestrations import ConcurrentBuilder, GroupChatBuilder, HandoffBuilder, SequentialBuilder

import labkit as lk
from labkit.agents import intents
from labkit.agents.agent_framework import LabkitChatClient
from labkit.agents.policies import first, rules
from labkit.agents.recorder import Recorder
from labkit.agents.remote_tier import StandIn
from labkit.agents.routing import Router, Tier
from labkit.course import alt, check, predict
from labkit.widgets.agent_picture import picture, words

slm = lk.connect()
client = LabkitChatClient(slm)

# %% [markdown]
# ## Three specialists
# Each has one tool. `record` is middleware: it writes down who spoke, which tools ran, how long it took.

# %%
@tool(approval_mode="never_require")
def order_status(order_id: str) -> str:
    """Status of an order. Args: order_id: like A-1042."""
    return f"Order {order_id} was shipped on Monday."


@tool(approval_mode="never_require")
def in_stock(product: str) -> str:
    """How many pieces of a product are in stock. Args: product: what the customer wants."""
    return f"There are 12 pieces of {product} in stock."


@tool(approval_mode="never_require")
def next_appointment(day: str) -> str:
    """The next free appointment with a doctor. Args: day: day of the week."""
    return f"The next appointment on {day} is at 10:30."


# %%
record = Recorder()


def specialist(name, does, *tools):
    return Agent(client, f"You are the {name} desk.", name=name, description=does, tools=list(tools),
                 middleware=record.middleware, default_options={"max_tokens": 40},
                 require_per_service_call_history_persistence=True)  # the framework wants it for hand-offs


support = specialist("support", "Looks up where an order is.", order_status)
retail = specialist("retail", "Knows what is in stock in the shop.", in_stock)
health = specialist("health", "Finds appointments with a doctor.", next_appointment)
print((await support.run("Where is my order A-1042?")).text)

# %% [markdown]
# ## One after the other, or all at once
# A **sequential** workflow hands the conversation from one to the next; a **concurrent** one asks all at the same time.
# Three agents at once: how many times faster than one after the other, on this machine?

# %%
guess = None  # times faster

team = [support, retail, health]
took = {}
for name, builder in (("sequential", SequentialBuilder), ("concurrent", ConcurrentBuilder)):
    record.clear()
    await builder(participants=team).build().run("Where is my order A-1042?")
    took[name] = record.seconds
    print(f"{name}: {took[name]:.2f} s")
predict("All at once is faster", guess, round(took["sequential"] / took["concurrent"], 1), "times")

# %%
alt(picture(record), words(record))

# %% [markdown]
# The turns overlap in the picture, and yet three at once are not three times as fast: one model on the same cores does
# all the work. What is won comes from reading the weights once for several answers, and from having less to read: the
# last ones of a sequence read what the first ones said. Only with a machine of its own for each would three agents be
# three times as fast.
#
# Look at what the wrong specialists do with the question: they were asked, so they call their tool. Asking everybody
# is no substitute for asking the right one.

# %%
record

# %% [markdown]
# ## Who is the right one?
# The course has 815 requests for seven specialists, and for none of them: `data/intents`. 320 are for learning, 360 for
# the measurement. Four **routers**: keywords; a linear model on words (TF-IDF); a linear model on the *vectors* that
# our small model makes of a text; and the small model asked without any training. Which one is best?

# %%
asked = intents.load("test")
for one in asked[:5]:
    print(f"{one.intent:14} {one.request}")

# %%
guess = None  # "keywords", "words", "vectors" or "untrained"

began = time.perf_counter()
vectors = intents.Probe(slm)
print(f"320 texts read, and learned from: {time.perf_counter() - began:.0f} s")
routers = {"keywords": intents.Keywords(), "words": intents.Words(), "vectors": vectors}
some = asked[::8]
verdicts = intents.judge(routers, some)
verdicts

# %% [markdown]
# The untrained model takes longer, since it reads the request once for each specialist. A few are enough to see it:

# %%
few = asked[::60]
untrained = intents.judge({"untrained": intents.Likelihood(slm), **routers}, few)
best = max(verdicts.judged, key=lambda one: one.right + one.refused).name
predict("The best router is", guess, best)
untrained

# %% [markdown]
# The winner is a linear model, a hundred lines of mathematics from the 1950s. But not on words: on what the small model
# makes of them. It never wrote a token; it only *read*. That is the cheapest use of a language model there is, and the
# best one here. Asking it "who should do this?" is the dearest, and the worst.

# %%
of = {one.name: one for one in verdicts.judged}
assert of["vectors"].right > of["words"].right > of["keywords"].right

# %% [markdown]
# ## A reception that routes
# The router becomes a step of a workflow, with a *switch* behind it. Whoever is out of scope goes to nobody, and is
# told so without a model.

# %%
@executor(id="reception")
async def reception(request: str, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
    note = {"intent": vectors(request)}
    message = Message("user", [request], additional_properties=note)
    await ctx.send_message(AgentExecutorRequest(messages=[message], should_respond=True))


@executor(id="nobody")
async def nobody(request: AgentExecutorRequest, ctx: WorkflowContext[None, str]) -> None:
    await ctx.yield_output("None of our desks can help with this.")


def goes_to(intent):
    return lambda request: request.messages[-1].additional_properties["intent"] == intent


desk = WorkflowBuilder(start_executor=reception, output_from="all").add_switch_case_edge_group(reception, [
    Case(goes_to("support"), support), Case(goes_to("retail"), retail), Case(goes_to("health"), health),
    Default(nobody)]).build()

# %%
for request in ("Where is my order A-1042?", "Do you have oat milk in stock?", "Who painted the Mona Lisa?"):
    record.clear()
    outcome = (await desk.run(request)).get_outputs()[-1]
    print(f"{request:34} {', '.join(record.spoke) or 'nobody':8} {getattr(outcome, 'text', outcome)}")

# %% [markdown]
# ## Hand-off: the agents decide
# In a **hand-off** there is no router. The reception is an agent, and each colleague is a tool to it,
# `handoff_to_support`. So the model decides by calling. How many of six requests will it hand to the right one?

# %%
guess = None  # of 6

reception_agent = specialist("reception", "Sends people to the right desk.")
handing = HandoffBuilder(name="desk", participants=[reception_agent, *team]).with_start_agent(reception_agent)
for agent in team:
    handing = handing.add_handoff(agent, [reception_agent])
handing = handing.add_handoff(reception_agent, team)

chosen = [one for name in ("support", "retail", "health") for one in asked if one.intent == name][::21]
right = {"hand-off": 0, "vectors": 0}
for one in chosen:
    record.clear()
    await handing.build().run(one.request)
    right["hand-off"] += record.spoke[1:2] == [one.intent]
    right["vectors"] += vectors(one.request) == one.intent
assert len(chosen) == 6
predict("Handed to the right one", guess, right["hand-off"], "of 6")
print(right)

# %%
record.clear()
await handing.build().run("Where is my order A-1042?")
alt(picture(record), words(record))
print(f"{len(record.spoke)} turns in {record.seconds:.2f} s")

# %% [markdown]
# A hand-off is the elegant way with a large model. With a small one, let a router decide that was trained and measured.
#
# ## Agents that only talk to each other
# A **group chat** takes turns until somebody ends it. Nobody ends it by himself. Every workflow needs a limit that does
# not depend on the model: here `max_rounds`.

# %%
def whose_turn(state):
    return ("support", "retail")[state.current_round % 2]


record.clear()
group = GroupChatBuilder(participants=[support, retail], selection_func=whose_turn, max_rounds=4).build()
await group.run("Who of you knows where order A-1042 is?")
print(record.spoke)
assert len(record.spoke) == 4

# %% [markdown]
# Worse is a hand-off in circles: support sends to retail, retail to support. We force it, by allowing both nothing but
# the hand-off. How does it end?

# %%
from agent_framework.exceptions import WorkflowConvergenceException

one, two = (Agent(client, "Hand it on.", name=name, middleware=record.middleware,
                  default_options={"tool_choice": "required", "max_tokens": 30},
                  require_per_service_call_history_persistence=True) for name in ("one", "two"))
circle = HandoffBuilder(name="circle", participants=[one, two]).with_start_agent(one)
circle = circle.add_handoff(one, [two]).add_handoff(two, [one])
circle = circle.with_termination_condition(lambda conversation: len(record.spoke) >= 6).build()
record.clear()
try:
    await circle.run("Please help me.")
    print("ended by our condition, after", record.spoke)
except WorkflowConvergenceException as error:
    print("ended by the framework:", error)
assert 6 <= len(record.spoke) <= 7

# %% [markdown]
# ## Escalate, and keep the thread
# A hierarchy: a small model routes, a specialist works, a large model is asked when it must be. What must not get lost
# is the conversation. A session holds it; the model behind may change. Here the first answer comes from the model in
# this process, the second from another runtime, a server. It sees what was said and what the tool found.

# %%
server = lk.connect("llama.cpp-server")
session = support.create_session()
await support.run("Where is my order A-1042?", session=session)
elsewhere = Agent(LabkitChatClient(server), "You are the support desk.", name="elsewhere",
                  default_options={"max_tokens": 30})
print((await elsewhere.run("Say again: when was it shipped?", session=session)).text)
kept = session.state["in_memory"]["messages"]
server.close()
print([message.role for message in kept])
assert [message.role for message in kept].count("user") == 2 and "tool" in [message.role for message in kept]

# %% [markdown]
# And up: the router of lesson 03 stands where a model stands, so an agent can have one. A stand-in plays the large
# model, as there. The request that no small model should answer goes up; the tool call stays small.

# %%
cloud = StandIn({}, error_rate=0.0, latency_s=0.0)
tiers = Router(slm, Tier(cloud, remote=True), first(rules({r"\bcompare|explain\b": "large"})))
senior = lk.Agent(tiers, tools=[lk.tool(order_status.func)], instructions="You are the support desk.", max_tokens=60)
talk = senior.run("Where is my order A-1042?").messages
talk = senior.run([*talk[1:], {"role": "user", "content": "Explain why parcels are late in December."}]).messages
for routed in tiers.log:
    print(f"{routed.tier:6} {routed.why:26} {str(routed.reply)[:60]}")
assert tiers.log[-1].tier == "large" and any(m["role"] == "tool" for m in talk)

# %% [markdown]
# ## Exercises
# **12.1** Concurrent agents disagree. Write `vote(answers)`: the answer that most of them gave, ignoring case and
# spaces around it; with a tie the one that came first. Give it back as it was first written.

# %%
def vote(answers):
    # solution
    same = [answer.strip().casefold() for answer in answers]
    return answers[max(range(len(same)), key=lambda i: (same.count(same[i]), -i))]
    # end
    #~ ...

# %%
check("12.1", vote)

# %% [markdown]
# **12.2** Write `in_circles(speakers, times)`: whether the *last* speakers are two who took turns, each of them at
# least `times` times. `["a", "b", "a", "b"]` with `times=2` is a circle, `["a", "b", "c", "b"]` is none.

# %%
def in_circles(speakers, times):
    # solution
    last = speakers[-2 * times:]
    return len(last) == 2 * times and last[0] != last[1] and last == last[:2] * times
    # end
    #~ ...

# %%
check("12.2", in_circles)

# %% [markdown]
# **12.3** A router that is not sure should ask back instead of guessing. Write `decide(probabilities, least)`: for a
# dict from intent to probability, the likeliest intent; but `"ask back"` when its probability is below `least`, or when
# the second one is less than 0.1 behind.

# %%
def decide(probabilities, least):
    # solution
    ranked = sorted(probabilities, key=probabilities.get, reverse=True)
    best = probabilities[ranked[0]]
    close = len(ranked) > 1 and best - probabilities[ranked[1]] < 0.1
    return "ask back" if best < least or close else ranked[0]
    # end
    #~ ...

# %%
check("12.3", decide)

# %% [markdown]
# ## What you have seen
# - Several agents over one model on one machine are hardly faster than one; they are easier to keep right.
# - The best router was a linear model on the small model's vectors: measured, cheap, and it can say "nobody".
# - Every workflow needs a limit from outside. Agents do not end by themselves.
# - The conversation is data: it survives a change of model and of runtime.
