# %% [markdown]
# # 15 · Watching it run
#
# How do you know that a service is well when you are not looking? Something has to look for you: measure, remember,
# and ring when it matters. Each of the three can be done so that it misleads. In this lesson you measure a service that
# you run yourself, see three common figures lie, keep a history, and let an alert act.

# %%
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import labkit as lk
from labkit.course import alt, check, needs, plot_style, predict
from labkit.intervals import percentile
from labkit.serving.alert_rules import parse
from labkit.serving.alerts import Alerts, Rule
from labkit.serving.background import serve_in_background
from labkit.serving.history import History, recorded
from labkit.serving.summary import summary
from labkit.serving.tickets import Limits
from labkit.serving.watch import Watch
from labkit.table import Table
from labkit.widgets import Dashboard

plot_style()
slm = lk.connect()
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A service and its watch
# `labkit serve` has a **watch**: every few seconds it reads the service and the machine. Here it looks four times a
# second and writes to a file. The service writes two answers at a time, and lets four requests wait.

# %%
http = httpx.Client(timeout=60)
watch = Watch(History(folder / "history.sqlite"), every_s=0.25)
server = serve_in_background(slm, limits=Limits(at_once=2, waiting=4), watch=watch)


def ask(tokens, user="me"):
    """(status, seconds) of one request."""
    started = time.perf_counter()
    body = {"messages": [{"role": "user", "content": "Tell me about the sea."}], "max_tokens": tokens, "user": user}
    answer = http.post(f"{server.base_url}/v1/chat/completions", json=body)
    return answer.status_code, time.perf_counter() - started


ask(4)

# %% [markdown]
# ## The mean is nobody
# Most requests to an assistant are short. A few are long. Here are 18 of 2 tokens and 2 of 40, in turns.
# How many of the 20 will take longer than the mean?

# %%
guess = None  # your guess, 0 to 20

sizes = ([2] * 9 + [40]) * 2
seconds = [ask(tokens)[1] for tokens in sizes]
mean = statistics.fmean(seconds)
p50, p95 = percentile(seconds, 50), percentile(seconds, 95)
predict("Requests slower than the mean", guess, sum(s > mean for s in seconds), "of 20")
print(f"mean {mean:.2f} s, p50 {p50:.2f} s, p95 {p95:.2f} s")
assert p50 < mean < p95

# %%
figure, axes = plt.subplots()
axes.plot(sorted(seconds), range(1, 21), "o", color="black")
for value, name, style in ((mean, "mean", ":"), (p50, "p50", "--"), (p95, "p95", "-")):
    axes.axvline(value, linestyle=style, color="black", label=f"{name} {value:.2f} s")
axes.set(xlabel="seconds", ylabel="requests done within it", xlim=(0, None), yticks=range(0, 21, 5))
axes.legend(loc="lower center")
alt(figure, f"20 requests by their time: 18 together near {p50:.2f} s, 2 far to the right near {p95:.2f} s. "
            f"The mean, {mean:.2f} s, lies between them and describes neither.")

# %% [markdown]
# Nobody waited for the mean. The **50th percentile** (p50) says what is usual: half of the requests took no longer.
# The **95th** (p95) says what is bad: one in twenty took longer. Watch both, and never average percentiles.
#
# ## Throughput is not 1 divided by latency
# You may meet this line in a guide: `requests_per_second = 1000 / latency_ms`. Nothing is counted there. Let us count:
# six requests, one after the other, then six from two clients at a time. The second row takes more seconds for each
# request. What will the formula say of it: more, fewer, or as many requests a second as there really were?

# %%
guess = None  # "more", "fewer" or "as many"

rows, ratio = [], {}
for clients in (1, 2):
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = [s for _, s in pool.map(lambda i: ask(12, f"client {i}"), range(6))]
    counted, invented = 6 / (time.perf_counter() - started), 1 / statistics.fmean(times)
    ratio[clients] = counted / invented
    rows.append((str(clients), f"{statistics.fmean(times):.2f}", f"{invented:.2f}", f"{counted:.2f}"))
predict("The formula, with two clients", guess, "fewer" if ratio[2] > 1.3 else "as many")
assert ratio[1] < 1.3 < ratio[2]
Table(("clients", "latency, s", "1 / latency", "counted, a second"), tuple(rows))

# %% [markdown]
# With one client the two agree. With two, the formula is wrong by a factor of two, and a service with a hundred
# clients it would call a hundred times too slow. What holds is **Little's law**: requests in the house = requests a
# second × seconds that each stays.
#
# ## A failure is not a fast answer
# Now twelve clients at once. Two are served, four may wait, and the rest is refused at once, with status 503. Some
# programs put every request into one mean, or note a failed one as 0 ms. What does that do to the latency?

# %%
with ThreadPoolExecutor(12) as pool:
    results = list(pool.map(lambda i: ask(16, f"client {i}"), range(12)))
good = [s for status, s in results if status == 200]
all_in_one = statistics.fmean(s if status == 200 else 0.0 for status, s in results)
failed = sum(status == 503 for status, _ in results)
print(f"mean with failures as 0: {all_in_one:.2f} s")
print(f"answers alone: p50 {percentile(good, 50):.2f} s, p95 {percentile(good, 95):.2f} s")
print(f"failed: {failed} of {len(results)} ({failed / len(results):.0%})")
assert failed > 0 and all_in_one < statistics.fmean(good)

# %% [markdown]
# The worse it gets, the better that mean looks: with everything refused it would be 0. So two figures, side by side:
# the times of what was answered, and the **share of errors**. Where nothing was answered there is no latency, and a
# good tool shows a gap, not a 0.
#
# ## What the service says of itself
# The watch counted along. `GET /figures?minutes=5` gives the last minutes, behind the service's key like every route.

# %%
time.sleep(0.6)  # two more looks
told = http.get(f"{server.base_url}/figures?minutes=5").json()
print(told["outcomes"], "errors:", told["errors"])
print({name: round(told["latency"][name], 2) for name in ("p50", "p95", "p99", "mean")})
assert told["count"] == 1 + 20 + 12 + 12 and told["outcomes"]["overloaded"] == failed
for line in told["advice"]:
    print("-", line)

# %% [markdown]
# Each piece of advice quotes the figure that it rests on, so that you can check it, and disagree.
#
# The machine is watched as well. What has no sensor is told with its reason. A 0 in its place would be drawn and
# believed.

# %%
Table(("figure", "why there is none here"), tuple(told["missing"].items()))

# %% [markdown]
# ## The dashboard
# The same figures as pictures. It looks again every two seconds: let the next cells run and come back to it.

# %%
dashboard = Dashboard(server, every_s=2)
dashboard

# %% [markdown]
# ## An alarm that nobody believes
# You want to be called when the queue is long. Figures are never calm: here is a queue of about ten that sways.
# The rule says *above 10*. How often will it ring?

# %%
queue = [4, 8, 11, 9, 12, 9, 11, 10, 13, 9, 12, 8, 11, 7, 4, 3]
guess = None  # your guess: how often it begins

plain = Alerts([Rule("long queue", "waiting", limit=10)])
rings = [event for at, n in enumerate(queue) for event in plain.look({"waiting": n}, at)]
predict("Alarms", guess, sum(event.began for event in rings))
assert sum(event.began for event in rings) > 3

# %% [markdown]
# One long queue, many alarms, each followed by "it is over". After a night of that, nobody looks any more. The cure is
# two limits: it begins above 10 and ends only at 5. That is **hysteresis**, and every thermostat has it.

# %%
states = {}
for name, until in (("one limit", None), ("two limits", 5)):
    alerts, states[name] = Alerts([Rule("long queue", "waiting", limit=10, until=until)]), []
    for at, n in enumerate(queue):
        for event in alerts.look({"waiting": n}, at):
            print(f"{name}, {at:2} s: {event}")
        states[name].append(bool(alerts.on))
changes = {name: sum(a != b for a, b in zip(on, on[1:])) for name, on in states.items()}
assert changes["two limits"] == 2 < changes["one limit"]

# %%
figure, (top, *below) = plt.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1), figsize=(6.5, 3.6))
top.plot(queue, "o-", color="black")
top.axhline(10, linestyle="-", color="gray", label="begins above 10")
top.axhline(5, linestyle=":", color="gray", label="ends at 5")
top.set(ylabel="requests waiting", ylim=(0, 18), yticks=range(0, 16, 5))
top.legend(loc="upper right", ncols=2)
for axes, (name, on) in zip(below, states.items(), strict=True):
    axes.fill_between(range(len(on)), on, step="post", color="0.6", hatch="//", edgecolor="black")
    axes.set(ylabel=name, yticks=(0, 1), yticklabels=("off", "on"), ylim=(0, 1.1))
below[-1].set_xlabel("seconds")
alt(figure, f"A queue that sways around 10 for 16 seconds. With one limit the alert changes {changes['one limit']} "
            f"times; with two it goes on once and off once.")

# %% [markdown]
# ## An alert that acts
# At night, a message helps less than a hand on the tap. Alerts of `labkit serve --alerts FILE` stand in a YAML file.
# They name a figure and one of a few actions. A file like that cannot run a program.

# %%
dashboard.stop()
server.stop()
rules = """
alerts:
  - name: long queue
    figure: requests_waiting
    above: 3
    until: 0
    action: stop taking work
"""
watch = Watch(History(folder / "second.sqlite"), parse(rules), every_s=0.1)
server = serve_in_background(slm, limits=Limits(at_once=2, waiting=20), watch=watch)

# %% [markdown]
# Six clients come at once: two are served, four wait, and the queue has room for all. When the alert has begun, one
# more comes.

# %%
pool = ThreadPoolExecutor(6)
early = [pool.submit(ask, 40, f"client {i}") for i in range(6)]
while not (watch.alerts.on or all(future.done() for future in early)):
    time.sleep(0.05)
late = ask(4, "a seventh")
print("during:", http.get(f"{server.base_url}/health/why").json()["reasons"])
statuses = [future.result()[0] for future in early]
while watch.alerts.on:
    time.sleep(0.05)
after = ask(4, "an eighth")
print(f"six early: {statuses}, the seventh: {late[0]} after {1000 * late[1]:.0f} ms, later: {after[0]}")
assert statuses == [200] * 6 and (late[0], after[0]) == (503, 200)

# %% [markdown]
# What was accepted was answered; who came too late was told at once and could go elsewhere; and then it was over by
# itself. That needs care. Had the rule looked at the *latency*, a service that takes no work would have none, and the
# alert could never end. labkit ends an alert when its figure has been gone for a minute.
#
# The history has all of it. It is a SQLite file, and it can be read without the service, also after a crash.

# %%
time.sleep(0.3)
server.stop()
Dashboard(folder / "second.sqlite", start=False)

# %%
file = recorded(folder / "second.sqlite")
for ago, event in summary(file, 5).events:
    print(f"{ago:5.1f} s before the end: {event}")
assert summary(file, 5).outcomes == {"ok": 7, "paused": 1}
file.close()

# %% [markdown]
# ## An alert that saves memory
# Another action takes the same model with fewer bits a weight, while the service runs. What do you give for the memory?

# %%
tight = parse("alerts: [{name: memory, figure: rss_bytes, above: 1, action: shrink the model}]")
watch = Watch(alerts=tight, every_s=3600)
server = serve_in_background(slm, watch=watch)
question = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 12}
for _ in range(2):
    reply = http.post(f"{server.base_url}/v1/chat/completions", json=question).json()
    print(f"{reply['model']}: {reply['choices'][0]['message']['content']!r}")
    watch.look()  # the limit is 1 byte, so it begins now
(memory,) = [values for name, values in summary(watch.history, 5).figures.items() if name == "rss_bytes"]
print(f"Memory {memory.most / 1e6:.0f} MB before, {memory.now / 1e6:.0f} MB after.")
assert "Q4_0" in reply["model"]
server.stop()

# %% [markdown]
# Answers in the making end on the model they began with. The old name still works, and every answer says which model
# wrote it: a service must not hide that it has become worse. A third action, `unload the model`, is for the night: with
# `{figure: requests_per_s, below: 0.001, for_s: 600}` the memory is free after ten quiet minutes, and the first request
# of the morning waits for the load.
#
# ## Other servers count in other words
# vLLM and llama.cpp's server tell their figures to Prometheus, as `labkit serve` does at `/metrics`. Each has its own
# names. `scrape` brings them into one form. Four answers at a time: what is "the" speed?

# %%
if needs("xllamacpp", stop=False):
    from labkit.profiling.scrape import scrape
    with lk.connect("llama.cpp-server", slots=4, context_length=1024) as other, ThreadPoolExecutor(4) as four:
        before = scrape(other.backend.url)
        list(four.map(lambda i: other.chat("Tell me a story.", max_tokens=30), range(4)))
        found = scrape(other.backend.url).since(before)
    print(f"one answer: {found['answer_tokens_per_s']:.0f} tokens/s, together: {found['tokens_per_s']:.0f} tokens/s")
    print("time to first token:", found["ttft_mean_s"], "because", found.missing["ttft_mean_s"])

# %% [markdown]
# llama.cpp's server calls the first one its throughput. It is the speed that one reader sees. Read what a figure counts
# before you compare it.
#
# ## One request from inside
# Figures tell how many and how long. Which part of *this* request took long? That is what a **trace** is for, and
# **OpenTelemetry** is the form in which programs tell each other traces. labkit tells nothing until you set a
# provider. Here one keeps what it hears in memory; yours would send it to a collector.

# %%
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
with serve_in_background(slm) as server:
    http.post(f"{server.base_url}/v1/chat/completions", json=question)
for span in sorted(spans.get_finished_spans(), key=lambda span: span.start_time):
    print(f"{(span.end_time - span.start_time) / 1e6:7.1f} ms  {span.name}")
(answer,) = [span for span in spans.get_finished_spans() if span.name.startswith("chat ")]
print()
for name, value in answer.attributes.items():
    print(f"{name}: {value}")

# %% [markdown]
# The web framework may tell spans of its own; the one called `chat` is labkit's. Its names are the convention's for
# generative AI, so a tool that knows them can draw it beside those of any other service. What is *not* there matters
# as much: is the question in any of them?

# %%
guess = None  # "yes" or "no"

found = "yes" if any("France" in span.to_json() for span in spans.get_finished_spans()) else "no"
predict("The question is in a span", guess, found)
assert found == "no"

# %% [markdown]
# Traces travel to other machines and are kept for long. What people ask does not belong in them unless somebody decided
# so.
#
# ## Exercises
# **15.1** Write `nearest_rank(values, percent)`: the smallest of the values such that at least `percent` % of all
# values are not above it. No interpolation; `percent` is a whole number from 1 to 100.

# %%
def nearest_rank(values, percent):
    # solution
    ordered = sorted(values)
    return next(v for i, v in enumerate(ordered, 1) if 100 * i >= percent * len(ordered))
    # end
    #~ ...

# %%
check("15.1", nearest_rank)

# %% [markdown]
# **15.2** Write `report(requests)` for a list of `(status, seconds)`: a dict with `"error_share"`, the share of them
# with a status of 500 or above, and `"mean_s"`, the mean time of those with status 200. Where there is nothing to
# divide by, the value is `None`.

# %%
def report(requests):
    # solution
    good = [seconds for status, seconds in requests if status == 200]
    bad = sum(status >= 500 for status, _ in requests)
    return {"error_share": bad / len(requests) if requests else None,
            "mean_s": sum(good) / len(good) if good else None}
    # end
    #~ ...

# %%
check("15.2", report)

# %% [markdown]
# **15.3** Write `alert_states(values, limit, until)`: for each value whether the alert is on after it. It begins above
# `limit`, and ends at `until` or below.

# %%
def alert_states(values, limit, until):
    # solution
    on, states = False, []
    for value in values:
        on = value > until if on else value > limit
        states.append(on)
    return states
    # end
    #~ ...

# %%
check("15.3", alert_states)

# %% [markdown]
# ## What you have seen
# - Percentiles describe requests; a mean describes none. Errors have a figure of their own.
# - Throughput is counted. It does not follow from the latency of one request.
# - What is not measured is a gap with a reason, never a 0.
# - Hysteresis makes an alarm that people believe; an action must leave the alert a way to end.
# - A history is read when it is too late to measure. Keep one.
