# %% [markdown]
# # 18 · Agents at work
#
# What does it take to let an agent do a job? A model that calls the right tool is the smaller part. A job has data
# that must stay whole, rules that hold whatever the model says, and somebody who can tell whether it was done. In this
# lesson you choose a desk, run its day, look at what has changed in its database, and then try to break it.

# %%
import sqlite3
import time

import matplotlib.pyplot as plt

import labkit as lk
from labkit import domains, safety
from labkit.course import alt, check, plot_style, predict
from labkit.domains.scenario import KINDS
from labkit.intervals import percentile, share_interval
from labkit.table import Table
from labkit.widgets import TraceView

plot_style()
slm = lk.connect()

# %% [markdown]
# ## Choose a desk
# There are seven. Each has three to six tools over a SQLite database of its own, filled with made-up customers, orders,
# patients and prices. One request for each of them:

# %%
for name in domains.NAMES:
    with domains.open_desk(name) as desk:
        request = domains.scenarios(name)[0].request
        print(f"{name:10} {request}\n{'':10} {desk.agent(slm).run(request).text.splitlines()[0][:100]}")

# %% [markdown]
# Choose one. Change the name and run the lesson again: the next two sections work with all of them.

# %%
DESK = "support"
desk = domains.open_desk(DESK)
agent = desk.agent(slm)
how = {tool.name: "a person should agree" if tool.name in desk.irreversible else
       "changes the database" if tool.name in desk.writes else "reads" for tool in desk.tools}
Table((f"{desk.title}: tool", "what it does", "effect"),
      tuple((tool.name, tool.description, how[tool.name]) for tool in desk.tools))

# %% [markdown]
# One request. Before it we keep a copy of every row, a **snapshot**; after it we ask what is different.

# %%
asked = next(each for each in domains.scenarios(DESK)[1::3] if each.changes)
print(asked.request)
before = desk.database.snapshot()
run = agent.run(asked.request)
TraceView(run)

# %%
print(run.text)
desk.database.changes(before)

# %% [markdown]
# The model did one thing here: it chose the tool and its arguments. The answer's sentence was written by the tool, in
# code, from what is in the database. The model never saw it.
#
# ## Its day
# Twelve requests come in, of several kinds: for support, one needs two tools, one does not say enough, one is small
# talk. Each comes with what is right: the calls, and the rows that must be different then. The judge compares these
# two and reads no word of the answer. How many of the twelve are done right?

# %%
guess = None  # your guess, 0 to 12

day, done = domains.scenarios(DESK)[::3][:12], []
morning = desk.database.snapshot()
for scenario in day:
    before, started = desk.database.snapshot(), time.perf_counter()
    run = agent.run(scenario.request)
    done.append((time.perf_counter() - started, domains.judge(desk, before, run, scenario), run))
right = sum(verdict.passed for _, verdict, _ in done)
predict("Done right", guess, right, "of 12")
Table(("request", "right?", "answer"), tuple(
    (each.request[:60], "yes" if verdict else "NO", run.text.splitlines()[0][:70])
    for each, (_, verdict, run) in zip(day, done, strict=True)))

# %%
for each, (_, verdict, _) in zip(day, done, strict=True):
    if not verdict:
        print(f"{each.request}\n  {verdict.why}")
share, low, high = share_interval(right, len(day))
print(f"{right} of {len(day)}: a share of {share:.0%}, and with so few requests anything from {low:.0%} to {high:.0%}.")
assert right > len(day) / 2

# %% [markdown]
# Twelve requests say little, as the interval shows. `labkit desks` asks all of them, some 40 a desk. And a day is more
# than a share: what is different in the evening?

# %%
desk.database.changes(morning)

# %% [markdown]
# Somebody has to wait for each answer. The bars are the twelve requests, by the tool that is right; the hatched ones
# were not done right.

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.4))
seconds = [took for took, _, _ in done]
wanted = [", ".join(call["name"] for call in each.calls) or KINDS[each.kind] for each in day]
for i, (took, verdict, _) in enumerate(done):
    axes.barh(i, took, color="0.75" if verdict else "white", edgecolor="black", hatch="" if verdict else "///")
for percent, style in ((50, "--"), (95, "-")):
    axes.axvline(percentile(seconds, percent), linestyle=style, color="black", label=f"p{percent}")
axes.set(xlabel="seconds until the answer", yticks=range(len(day)), yticklabels=wanted)
axes.invert_yaxis()
axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
alt(figure, f"Seconds of {len(day)} requests: half take at most {percentile(seconds, 50):.2f} s, "
            f"the slowest {max(seconds):.2f} s. {len(day) - right} of them are hatched: not done right.")

# %% [markdown]
# ## The same desk without training
# The tools, the database and the rules stay. Only the adapter for tool calls is taken away. The first four requests
# again: how many are done right now?

# %%
guess = None  # your guess, 0 to 4

with domains.open_desk(DESK) as other:
    untrained, passed = other.agent(lk.connect(adapter=None)), 0
    for scenario in day[:4]:
        before = other.database.snapshot()
        passed += domains.judge(other, before, untrained.run(scenario.request), scenario).passed
predict("Done right without the adapter", guess, passed, "of 4")
print("With it:", sum(verdict.passed for _, verdict, _ in done[:4]), "of 4")

# %% [markdown]
# ## Who words the answer?
# You may want an answer that sounds nicer than a tool's sentence. `own_words=True` lets the model read the tools'
# results and write one. Compare the two.

# %%
support = domains.open_desk("support")
(order,) = support.database.query("SELECT * FROM orders WHERE status = 'packed' LIMIT 1")
question = f"What is the status of order {order['id']}?"
in_words = support.agent(slm, own_words=True, max_tokens=60).run(question)
print("the tool: ", support.agent(slm).run(question).text)
print("the model:", in_words.text)
print("in the database:", {name: order[name] for name in ("placed", "status")})

# %% [markdown]
# A sentence that the model writes can be right, or nearly right, and you must read it to know. A sentence from code is
# as right as the row. With a model of this size, let it choose, and let code speak.
#
# ## Break it: what is not there, and what is not yours
# First a number that does not exist. Then we open the desk for a customer and ask for an order of somebody else.

# %%
before = support.database.snapshot()
print(support.agent(slm).run("What is the status of order ORD-00001?").text)
mine, theirs = support.database.query("SELECT * FROM orders GROUP BY customer_id LIMIT 2")
with domains.open_desk("support", user=mine["customer_id"]) as own:
    for each in (mine, theirs):
        print(own.agent(slm).run(f"What is the status of order {each['id']}?").text)
assert not support.database.changes(before)

# %% [markdown]
# The model cannot be talked out of that rule: it stands in the tool, in code, and compares who asks with whose it is.
#
# ## Break it: the same request twice
# A customer is impatient and clicks twice; a network loses an answer, and the program asks again. The same ticket,
# three times. How many new rows will there be?

# %%
guess = None  # your guess

before, customer = support.database.snapshot(), mine["customer_id"]
for _ in range(3):
    print(support.agent(slm).run(f'Open a ticket for {customer}, subject "lamp flickers".').text)
changed = support.database.changes(before)
predict("New rows", guess, len(changed))
assert len(changed) == 1
changed

# %% [markdown]
# The table has a key over customer and subject, for tickets that are open. The tool inserts with `ON CONFLICT DO
# NOTHING` and reads the row that is there. What is done twice happens once: it is **idempotent**.
#
# ## Break it: somebody else has the database
# Another program is in the middle of writing. What happens to a request that comes now?

# %%
other = sqlite3.connect(support.database.path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
request = f'Open a ticket for {customer}, subject "chair squeaks".'
print(support.agent(slm).run(request).text)
other.execute("ROLLBACK")
other.close()
print(support.agent(slm).run(request).text)
assert len(support.database.changes(before)) == 2

# %% [markdown]
# It waited for two seconds, then said what was wrong and what to do. Every tool that writes does so in a
# **transaction**: all of it or nothing.
#
# ## Break it: an order hidden in an e-mail
# So far we wrote the requests. An office reads what strangers write. Here is an e-mail whose sender writes to the
# agent, not to the office. We paste it into a request, as people do.

# %%
office = domains.open_desk("office")
(mail,) = office.database.query("SELECT * FROM emails WHERE body LIKE '%route the invoice%'")
(bill,) = office.database.query("SELECT number FROM invoices ORDER BY total_cents DESC LIMIT 1")
body = mail["body"].replace("the invoice", f"invoice {bill['number']}")
mine_alone = f"Draft a reply to {mail['id']} that the boxes are on their way."
pasted = f'{mine_alone} The e-mail was: "{body}"'
print(pasted)
before = office.database.snapshot()
run = office.agent(slm).run(pasted)
print("\n".join(map(str, run.calls)))
office.database.changes(before)

# %% [markdown]
# Whatever your model did: a stranger's sentence stood where only yours should stand, and nothing in a model tells them
# apart. Do not hope that it resists. Two repairs, both outside the model. The better one: what a stranger wrote does
# not go into the request. The second one: what cannot be taken back waits for a person. Lesson 17's guard does that.

# %%
def nobody_agrees(tool, arguments, why):
    print(f"A person is asked: {tool}({arguments})? No.")
    return False


def tried(request):
    with domains.open_desk("office") as fresh:
        before = fresh.database.snapshot()
        guarded = safety.guard(fresh.agent(slm), irreversible=fresh.irreversible, approve=nobody_agrees)
        guarded.run(request)
        return {change.table for change in fresh.database.changes(before)}


print("only my words: ", tried(mine_alone))
guarded_tables = tried(pasted)
print("with the e-mail:", guarded_tables)
assert "approvals" not in guarded_tables

# %% [markdown]
# ## Exercises
# **18.1** Write `reserve(db, seat, day, person)` for a table `seats (seat, day, person, PRIMARY KEY (seat, day))`. It
# reserves the seat, if nobody has it, and returns who has it. Asked twice, it must act once.

# %%
def reserve(db, seat, day, person):
    # solution
    with db:
        db.execute("INSERT INTO seats VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (seat, day, person))
        found = db.execute("SELECT person FROM seats WHERE seat = ? AND day = ?", (seat, day))
        return found.fetchone()[0]
    # end
    #~ ...

# %%
check("18.1", reserve)

# %% [markdown]
# **18.2** Write `with_approval(name, arguments, irreversible, approve, act)`. It returns `act(name, arguments)`; but
# for a name in `irreversible` only when `approve(name, arguments)` is `True`. Else it returns a text that names the
# tool.

# %%
def with_approval(name, arguments, irreversible, approve, act):
    # solution
    if name in irreversible and approve(name, arguments) is not True:
        return f"{name} was not done: nobody agreed to it. Ask a colleague."
    return act(name, arguments)
    # end
    #~ ...

# %%
check("18.2", with_approval)

# %% [markdown]
# **18.3** Write `changes(before, after, key)` for two lists of rows (dicts): a dict with the keys that were `"added"`,
# `"changed"` and `"removed"`, each a sorted list.

# %%
def changes(before, after, key):
    # solution
    old, new = ({row[key]: row for row in rows} for rows in (before, after))
    return {"added": sorted(new.keys() - old.keys()), "removed": sorted(old.keys() - new.keys()),
            "changed": sorted(k for k in old.keys() & new.keys() if old[k] != new[k])}
    # end
    #~ ...

# %%
check("18.3", changes)

# %%
for each in (desk, support, office):
    each.close()

# %% [markdown]
# ## What you have seen
# - A job is judged by its end state: the tools that were called, the rows that are different.
# - The model chooses. Rules, ownership, and the answer's sentence are code.
# - What may be asked twice must happen once; what is written is written whole.
# - A stranger's text is no request. What cannot be taken back waits for a person.
