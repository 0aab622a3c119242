# %% [markdown]
# # 01 · What is an agent?
#
# An **agent** senses its world and acts in it, again and again, to reach something it was made for. A
# thermostat is one. So is a robot vacuum, a courier who plans a tour, and a cook who learns what a guest
# likes. None of those four needs a language model to act well.
#
# In this lesson you build up the four classic types, each in a small world you can see. Then you put a
# language model into each, in the **one** place where it could help: where people speak. And you measure
# whether it does. Sometimes it does not.

# %%
import random
from typing import Literal

from pydantic import BaseModel

import labkit as lk
from labkit.agents.worlds import (
    canteen,
    compare,
    draw_scores,
    house,
    interval,
    room,
    run_episode,
    score_table,
    town,
)
from labkit.course import alt, check, plot_style, predict, words

plot_style()
slm = lk.connect()
slm

# %% [markdown]
# ## The contract
# An agent is `act(percept) -> action`. A world is `percept()`, `step(action)` and `score()`. The score is a
# share of the best possible result, 0 to 1, in all four worlds. The loop between them is always this one;
# `run_episode` does the same and keeps a record.

# %%
world, agent = room.Room(seed=1), room.CoinFlip(seed=1)
for _minute in range(3):
    percept = world.percept()        # what can be sensed now
    action = agent.act(percept)      # the agent decides
    world.step(action)               # the world moves on
    print(percept, "->", action)

# %% [markdown]
# ## 1 · Simple reflex: the thermostat
# A **simple reflex agent** is a rule from what it senses *now* to what it does. It remembers nothing.
#
# The room cools faster the colder it is outside. A burner heats it. The thermometer is a little noisy. Each
# start of the burner wears it, so each start costs one comfortable minute. The simplest rule: below the
# dial, heat; above it, do not. How often will the burner start in one day?

# %%
guess = None  # your guess: starts of the burner in 24 hours

jumpy = room.Room(seed=3)
run_episode(room.Thermostat(band=0.0), jumpy, room.DAY)
predict("Starts of the burner in a day", guess, jumpy.starts, "starts")

# %% [markdown]
# The thermometer's noise switches it all the time. The cure is old: a **band** around the dial in which
# everything stays as it is. It is called hysteresis.

# %%
calm = room.Room(seed=3)
run_episode(room.Thermostat(band=0.5), calm, room.DAY)
alt(room.draw({"no band": jumpy, "band of 0.5 °C": calm}),
    "Temperature of a room over one day under two thermostats; both stay near 20 degrees. "
    f"Without a band the burner starts {jumpy.starts} times, with a band of 0.5 degrees {calm.starts} times.")

# %% [markdown]
# Same world, same seeds, one number changed. That is how agents are compared: `compare` runs each of them
# in the same twenty worlds, and `interval` gives the mean with its 95 % interval.

# %%
scores = compare({"coin flip": room.CoinFlip, "no band": lambda seed: room.Thermostat(0.0),
                  "band": lambda seed: room.Thermostat(0.5)}, room.Room, room.DAY, range(20))
assert all(b > n > c for c, n, b in zip(*scores.values(), strict=True))
score_table(scores)

# %% [markdown]
# **Exercise 01.1.** Write the rule. Heat when it is colder than `dial - band`, switch off when it is warmer
# than `dial + band`, and between the two go on as you are. Answer `"heat"` or `"off"`.

# %%
def thermostat(temperature, heating, dial=20.0, band=0.5):
    # solution
    if temperature < dial - band:
        return "heat"
    if temperature > dial + band:
        return "off"
    return "heat" if heating else "off"
    # end
    #~ ...


# %%
check("01.1", thermostat)

# %% [markdown]
# ### The model reads the notes
# Each person wants another temperature, and the thermostat cannot sense that. So people leave notes. The
# rule only needs one of three words from a note: cold, fine or warm. That is a job for a reader of words.
#
# We have two hundred texts, written by hand for this course, each with the right label. The `dev` half is
# for choosing prompts and keywords. The `test` half is only for measuring.

# %%
for said in words.load("room", "test")[::6]:
    print(f"{said.label:5} {said.kind:9} {said.text}")

# %% [markdown]
# First way: **ask**. The answer is held to a schema, so it cannot be anything but one of the three words.

# %%
class Feeling(BaseModel, extra="forbid"):
    feeling: Literal["cold", "fine", "warm"]


question = {"role": "system", "content": "How does the writer feel: cold, fine or warm?"}
note = {"role": "user", "content": "My teeth are chattering."}
reply = slm.chat([question, note], schema=Feeling)
print(reply.parsed, f"in {reply.timing.total_s:.2f} s")

# %% [markdown]
# A valid answer is not yet a right one. A model this small leans to one label, whatever the note says.
#
# Second way: **turn the question round**. Do not ask "which label?". Ask "if someone felt like this, how
# likely is it that they would write these words?" All labels are then judged on the same words, so no label
# is liked for itself.

# %%
feelings = {"cold": "You are too cold. What do you say?",
            "fine": "The temperature is just right. What do you say?",
            "warm": "You are too hot. What do you say?"}
text = "My teeth are chattering."
pairs = [([{"role": "user", "content": prompt}], text) for prompt in feelings.values()]
for label, score in zip(feelings, slm.backend.loglikelihood(pairs), strict=True):
    print(f"{label}: log-likelihood of the note {score:.1f}")

# %% [markdown]
# Third way, and the one to beat: a **keyword rule**. It looks for words such as *freezing* or *hot*, takes
# the last one it finds, and says "cannot tell" when it finds none. It costs nothing.
#
# Fourth: the rule, and the model only where the rule cannot tell. One function makes the four for every
# world.

# %%
def readers(world, question, schema, prompts):
    rule = words.by_keywords(words.KEYWORDS[world])
    turned = words.by_likelihood(slm, prompts)
    return {"keyword rule": rule,
            "model, asked": words.by_asking(slm, question, schema),
            "model, turned round": turned,
            "rule, then model": words.first_that_can_tell(rule, turned)}


guess = None  # your guess: per cent of the notes that the model reads right when it is asked

notes = words.measure(readers("room", question["content"], Feeling, feelings), words.load("room", "test"))
predict("Notes read right by the model, asked", guess, 100 * notes.share("model, asked"), "%")
notes

# %% [markdown]
# Look at the intervals before you pick a winner: with three labels, chance alone is 33 %, and with 30
# texts, readers ten points apart cannot be told apart. The columns to the right say more: the rule is right
# on plain notes, and nobody is reliable on the rest. Of the two ways to use the model, keep *turned round*
# from here on.
#
# What does a reader do for the room? Each person below wants another temperature and writes every hour.

# %%
def home_of(seed):
    return room.Room(seed, wish=random.Random(seed).uniform(17, 24), notes=words.texts_by_label(notes.said))


def with_readers(make, readings, perfect):
    """One maker of agents per reader. What was read is looked up: the model need not read it twice."""
    kept = {"rule": "keyword rule", "model": "model, turned round", "rule, then model": "rule, then model"}
    chosen = {name: readings.answers[reader].get for name, reader in kept.items()}
    chosen["perfect reader"] = perfect.get
    return {name: lambda seed, read=read: make(seed, read) for name, read in chosen.items()}


truth = {said.text: said.label for said in notes.said}
side_by_side = {}
agents = {"ignores words": lambda seed: room.Thermostat(),
          **with_readers(lambda seed, read: room.Thermostat(read=read), notes, truth)}
side_by_side["reflex: room with notes"] = compare(agents, home_of, room.DAY, range(20))
score_table(side_by_side["reflex: room with notes"])

# %% [markdown]
# A perfect reader would make this room far better. None of the real ones comes near it, and reading more
# notes right does not even make a better room. "Cannot tell" leaves the dial alone; a wrong reading turns
# it the wrong way. **What a mistake costs matters as much as how many there are.** In this room you would
# ship the rule, or a dial.

# %% [markdown]
# ## 2 · Model-based: the robot vacuum
# This robot senses the nine cells around it and no more. A reflex can only clean what is under it and
# wander on. A **model-based agent** keeps a model of its world: here a map of walls, dirt and rooms, from
# all it has seen so far. (The "model" in this name is the map, not a language model.)

# %%
robot, home, frames = house.MapVacuum(), house.House(seed=2), {}
for steps in (1, 20, 40, 60, 40):
    run_episode(robot, home, steps)
    frames[f"believed, step {len(home.trail) - 1}"] = (dict(robot.map), home.at)
alt(house.draw(home, frames),
    "The true house beside the robot's map at five moments. Unknown cells are hatched; "
    "the map fills room by room.")

# %% [markdown]
# Both vacuums get 150 steps in the same twenty houses. What share of the dirt will wandering get?

# %%
guess = None  # your guess: per cent of the dirt that the wandering reflex removes

scores = compare({"reflex": house.ReflexVacuum, "with a map": lambda seed: house.MapVacuum()},
                 house.House, 150, range(20))
predict("Dirt removed by the reflex", guess, 100 * interval(scores["reflex"])[0], "%")
gain = [b - a for a, b in zip(*scores.values(), strict=True)]
assert interval(gain)[1] > 0  # even the low end of the interval is a gain
score_table(scores)

# %% [markdown]
# **Exercise 01.2.** Where should a robot explore? At the **frontier**: free cells it knows that touch a
# cell it does not know. `known` maps cells `(row, column)` to `"wall"`, `"floor"` or `"dirt"`. Give the set
# of frontier cells. Two cells touch when they share a side.

# %%
def frontier(known):
    # solution
    def beside(cell):
        row, column = cell
        return [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]

    return {cell for cell, what in known.items()
            if what != "wall" and any(other not in known for other in beside(cell))}
    # end
    #~ ...


# %%
check("01.2", frontier)

# %% [markdown]
# ### Memory that survives a restart
# A map in memory is gone when the power is. So the robot writes it to a file: first beside the old one,
# then it swaps the two in one step. A crash in between leaves one whole map. Tomorrow walls and rooms are
# known; dirt must be seen anew.

# %%
import tempfile
from pathlib import Path

folder = tempfile.TemporaryDirectory()
memory = Path(folder.name) / "map.json"
first_day = house.MapVacuum(memory)
run_episode(first_day, house.House(seed=5, day=0), 300)
first_day.save()
del first_day                                   # the robot is switched off

second_day = house.MapVacuum(memory)            # a new object: all it knows comes from the file
print(f"{memory.name}: {memory.stat().st_size} bytes, {len(second_day.map)} cells remembered")
assert len(second_day.rooms) > 50
folder.cleanup()

# %% [markdown]
# ### The model reads the request
# "Do the kitchen first": the map knows where the kitchen is, if the words can be turned into a room's name.

# %%
class Room(BaseModel, extra="forbid"):
    room: Literal["kitchen", "living room", "bedroom", "bathroom"]


guess = None  # your guess: per cent of the requests that the model reads right, question turned round

reasons = {name: f"Say why the {name} must be cleaned first." for name in house.ROOMS.values()}
requests = words.measure(readers("house", "Which room should the robot clean first?", Room, reasons),
                         words.load("house", "test"))
predict("Requests read right, turned round", guess, 100 * requests.share("model, turned round"), "%")
requests

# %% [markdown]
# In the world: the robot has learnt the house the day before. Today somebody waits for one room, and there
# are 45 steps. Only the dirt in that room counts.

# %%
def request_for(seed):
    said = random.Random(seed).choice(requests.said)
    return house.House(seed, day=1, asked=said.label, request=said.text)


def trained(seed, read=None):
    robot = house.MapVacuum(read=read)
    run_episode(robot, house.House(seed, day=0), 300)
    robot.new_day()
    return robot


truth = {said.text: said.label for said in requests.said}
agents = {"ignores words": trained, **with_readers(trained, requests, truth)}
side_by_side["model-based: house with a request"] = compare(agents, request_for, 45, range(20))
score_table(side_by_side["model-based: house with a request"])

# %% [markdown]
# ## 3 · Goal-based: the courier who plans
# A **goal-based agent** looks ahead: it searches for a sequence of actions that ends where it wants to be.
# The courier needs two kinds of search, and both are in libraries:
# - the fastest **way** between two corners: A* (networkx);
# - the best **order** of stops with deadlines: a constraint solver (CP-SAT, from OR-Tools).
#
# A* needs a guess of what is still to go. The guess must never be too high, or it may miss the fastest way.

# %%
city = town.Town(seed=18)
for order in city.orders.values():
    drive = city.minutes(city.depot, city.where[order.address])
    print(f"{order.address:9} before {town.clock(order.deadline)}, {drive:3} minutes from the depot")

# %%
drawn = {}
for name, driver in (("nearest first", town.NearestCourier()), ("planned", town.PlanningCourier())):
    drawn[name] = town.Town(seed=18)
    run_episode(driver, drawn[name], 10)
late = {name: len(city.orders) - driven.on_time for name, driven in drawn.items()}
alt(town.draw(drawn),
    f"Two maps of the town with the courier's route. Nearest first is late at {late['nearest first']} of "
    f"{len(city.orders)} addresses, the planned tour at {late['planned']}.")

# %% [markdown]
# "Always the nearest" is a reflex: it looks one step ahead and at no deadline. On the road there is
# traffic, which the planner does not know of; it leaves 10 % of slack and plans again at every stop.

# %%
guess = None  # your guess: per cent of the possible deliveries that "nearest first" makes on time

scores = compare({"random": town.RandomCourier, "nearest first": lambda seed: town.NearestCourier(),
                  "planned": lambda seed: town.PlanningCourier()}, town.Town, 10, range(20))
predict("On time, nearest first", guess, 100 * interval(scores["nearest first"])[0], "%")
gain = [b - a for a, b in zip(scores["nearest first"], scores["planned"], strict=True)]
assert interval(gain)[1] > 0
score_table(scores)

# %% [markdown]
# ### The model reads the goal
# Customers write messages. A goal has two parts, an address and an hour. Ask for both at once, or split the
# work: hours follow a pattern, so a few lines of code read them; addresses are hinted at in endless ways.

# %%
class Goal(BaseModel, extra="forbid"):
    address: Literal[town.ADDRESSES]
    before: Literal[9, 10, 11, 12, 13, 14, 15, 16, 17]


def with_hour(read_address):
    def read(message):
        address, hour = read_address(message), words.hour_in(message)
        return (address, hour) if address and hour else None
    return read


tasks = {name: f"Ask a courier to bring a parcel to the {name}." for name in town.ADDRESSES}
asked = "A customer sends a parcel. Say the address, and before which hour (9 to 17)."
split_work = {name: read if name == "model, asked" else with_hour(read)
              for name, read in readers("town", asked, Goal, tasks).items()}

# %%
guess = None  # your guess: per cent of the messages with address AND hour right, model asked for both

messages = words.measure(split_work, words.load("town", "test"))
predict("Goals right, model asked for both", guess, 100 * messages.share("model, asked"), "%")
assert messages.share("model, turned round") > messages.share("model, asked")
messages

# %% [markdown]
# Two things were changed at once: who reads the hour, and how the address is read. The keyword rule has the
# same hours, so the gap between it and "turned round" is the addresses alone. Where did asking fail?

# %%
for part, name in enumerate(("address", "hour")):
    answers = messages.answers["model, asked"]
    right = sum(answers[said.text][part] == said.label[part] for said in messages.said)
    print(f"model, asked: {name} right in {right} of {len(messages.said)}")

# %% [markdown]
# And in town, with six parcels whose orders are known only as messages. A misread address is a drive for
# nothing.

# %%
def order_of(goal):
    return goal and town.Order(goal[0], (goal[1] - 8) * 60)


truth = {said.text: said.label for said in messages.said}
orders = {text: order_of(goal) for text, goal in truth.items()}


def courier(seed, read=None):
    chance = random.Random(seed)  # without words one can only guess where each parcel goes
    goals = {text: (chance.choice(town.ADDRESSES), 17) for text in truth}
    return town.PlanningCourier(read=lambda text: order_of(read(text) if read else goals[text]))


agents = {"ignores words": courier, **with_readers(courier, messages, truth)}
side_by_side["goal-based: town with messages"] = compare(
    agents, lambda seed: town.Town(seed, messages=orders), 12, range(20))
score_table(side_by_side["goal-based: town with messages"])

# %% [markdown]
# ## 4 · Learning: the cook
# A **learning agent** gets better with feedback. Each guest has a taste that nobody told the cook. Each day
# the cook offers one dish and hears whether it was liked.
#
# The baseline is strong and fixed: the dish that most guests like. The learner keeps a belief about the
# guest's taste and draws from it (Thompson sampling): unsure, it tries things out; sure, it settles.

# %%
favourite = canteen.FixedCook()
cooks = {"fixed favourite": lambda seed: favourite, "random": canteen.RandomCook,
         "learning": canteen.LearningCook}
curves = {name: [] for name in cooks}
for seed in range(100):
    for name, make in cooks.items():
        guest = canteen.Canteen(seed)
        run_episode(make(seed), guest, 100)
        curves[name].append(guest.history)

guess = None  # your guess: the first day on which the learner does better than the favourite
daily = {name: [sum(day) / len(day) for day in zip(*days, strict=True)] for name, days in curves.items()}
ahead = next(day for day in range(100) if daily["learning"][day] > daily["fixed favourite"][day])
predict("First day on which the learner is ahead", guess, ahead + 1, "")

# %%
alt(canteen.draw(curves),
    f"Learning curves over 100 days. The fixed favourite ({favourite.dish}) and the random cook stay level; "
    "the learning cook starts below the favourite and climbs above both.")
gain = [sum(a) / len(a) - sum(b) / len(b)
        for a, b in zip(curves["learning"], curves["fixed favourite"], strict=True)]
print("learning minus fixed, all 100 days: {:+.2f} (95 %: {:+.2f} to {:+.2f})".format(*interval(gain)))
assert interval(gain)[1] > 0

# %% [markdown]
# **Exercise 01.3.** The heart of every learner is one line: move what you believe towards what you saw.
# `value` is the mean of `count` rewards. Give the mean after one more `reward`, without the old rewards.

# %%
def update(value, count, reward):
    # solution
    return value + (reward - value) / (count + 1)
    # end
    #~ ...


# %%
check("01.3", update)

# %% [markdown]
# ### The model reads the verdict
# Guests do not say 1 or 0. They say "loved it" or "meh". Reading that is a reward.

# %%
class Verdict(BaseModel, extra="forbid"):
    verdict: Literal["liked", "disliked"]


guess = None  # your guess: per cent of the verdicts that the keyword rule reads right

reviews = {"liked": "Write a positive review of a dish.", "disliked": "Write a negative review of a dish."}
verdicts = words.measure(readers("canteen", "Did the guest like the dish?", Verdict, reviews),
                         words.load("canteen", "test"))
predict("Verdicts read right by the rule", guess, 100 * verdicts.share("keyword rule"), "%")
assert verdicts.share("model, turned round") > verdicts.share("keyword rule")
verdicts

# %% [markdown]
# The rule is silent on half of these and often wrong when it speaks: praise and blame seldom use the
# expected word, and "not" turns it round. A learner forgives some mistakes: readings that are right three
# times in four still pull its belief the right way, only slower.

# %%
reward = {"liked": 1, "disliked": 0}
said_of = {reward[label]: texts for label, texts in words.texts_by_label(verdicts.said).items()}


def cook(seed, read=lambda text: None):
    return canteen.LearningCook(seed, read=lambda text: reward.get(read(text)))


truth = {said.text: said.label for said in verdicts.said}
agents = {"ignores words": cook, **with_readers(cook, verdicts, truth)}
side_by_side["learning: canteen with words"] = compare(
    agents, lambda seed: canteen.Canteen(seed, words=said_of), 100, range(40))
score_table(side_by_side["learning: canteen with words"])

# %% [markdown]
# ## 5 · Side by side
# Four worlds, one score. The first row ignores words. "Perfect reader" is as good as reading can make it.
# Between the two lies all that a language model could ever add.

# %%
alt(draw_scores(side_by_side), "Mean score with interval in four worlds for five readers. " + " ".join(
    f"{world}: " + ", ".join(f"{name} {interval(values)[0]:.2f}" for name, values in agents.items()) + "."
    for world, agents in side_by_side.items()))
for world, agents in side_by_side.items():
    assert interval(agents["perfect reader"])[0] > interval(agents["ignores words"])[0], world

# %% [markdown]
# Read it world by world.
# - In all four, what acts is ordinary code: a rule, a map, a search, a statistic. The model only reads.
# - In the town and the canteen people hint. The model reads hints, and closes most of the gap.
# - In the house most requests name the room. A few keywords do that as well, at no cost.
# - In the room the model is not good enough, and the figure says so before a customer does.
#
# "Model" here means *turned round*. Asked straight out, the same model read fewer right: compare the four
# tables above. Later lessons make it a better reader, by training it.

# %% [markdown]
# ## 6 · Autonomy and cost
# Small agents are said to be *autonomous*: they need no network. Here is a check. In the block below every
# Python socket that leads off this machine is refused and counted. A guard that never refused anything
# proves little, so it is tried first.

# %%
import socket

from labkit.course.offline import bytes_sent, no_network

with no_network() as tried:
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address kept free for examples
    except OSError as error:
        print("refused:", error)
assert tried == ["192.0.2.1"]

# %%
before = bytes_sent()
with no_network() as tried:
    read = words.by_likelihood(slm, reviews)
    guest = canteen.Canteen(seed=7, words=said_of)
    episode = run_episode(cook(7, read), guest, 20)
print(f"{len(episode)} days, {len(episode) - 1} verdicts read by the model, score {episode.score:.2f}")
print(f"connections this notebook tried: {len(tried)}")
print(f"bytes that left through the network cards meanwhile, all programs together: {bytes_sent() - before}")
assert tried == [] and len(episode) == 20

# %% [markdown]
# What does a thousand requests cost? The seconds are measured on your machine. **The prices and the power
# are assumptions: change them to yours.**

# %%
watts = 30            # assumed: what this machine draws while it works, more than at rest
per_kwh = 0.30        # assumed: price of electricity, per kWh
per_million = 0.50    # assumed: a hosted model's price, per million tokens read

seconds = verdicts.seconds["model, turned round"]
instructions = max(slm.count_tokens(prompt) for prompt in reviews.values())
tokens = sum(slm.count_tokens(said.text) + instructions for said in verdicts.said) / len(verdicts.said)

guess = None  # your guess: how many times dearer 1 000 requests are on the hosted model
here, hosted = 1000 * seconds * watts / 3.6e6 * per_kwh, 1000 * tokens * per_million / 1e6
predict("Hosted price over local electricity", guess, hosted / here, "times")
print(f"1 000 requests: {1000 * seconds:.0f} s here, {here:.4f} in electricity; "
      f"{1000 * tokens:.0f} tokens, {hosted:.4f} on the hosted model")

# %% [markdown]
# Be fair to the other side: the machine itself was not free, and a hosted model is far larger and reads
# better. The honest sum is price **per right answer**. You have both numbers for your machine now.
#
# **What you have seen.** An agent is a loop, and its type says what it keeps: nothing, a map, a goal, or
# what it learnt. A language model is one part of it, and you can measure that part alone. Next: the model
# *acts*, through tools.
