# %% [markdown]
# # 16 · Resources and more than one machine
#
# A laptop has so much memory, a battery, two cores. What happens when a program wants more than there is? Either it
# decides itself what to give up, or the system does, by killing it. And when one machine is not enough, what does a
# second one change? You measure both, and in the end one of your servers is killed while it is at work.

# %%
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import psutil

import labkit as lk
from labkit.agents.policies import LARGE, SMALL, always, first, when
from labkit.agents.routing import Router
from labkit.backends import managed
from labkit.course import alt, check, needs, plot_style, predict
from labkit.data import data_folder
from labkit.models.quantise import made
from labkit.profiling.memory import rss
from labkit.profiling.sensors import Sensors
from labkit.serving import deploy, deployment, ray_deploy
from labkit.serving.model_pool import ModelPool, NoRoom
from labkit.serving.power import PowerMode
from labkit.serving.rollout import Rollout
from labkit.serving.scaling import Scaler
from labkit.table import size

plot_style()

# %% [markdown]
# ## Several models, one budget
# One model in three levels of quantisation (lesson 04) stands for three models. A `ModelPool` loads what is asked for,
# and measures what each load adds to the **resident memory** of this process.

# %%
LEVELS = ("Q8_0", "Q6_K", "Q4_0")


def opened(level):
    return lambda: lk.connect("llama.cpp", str(made(level)), context_length=512, adapter=None)


pool = ModelPool({level: opened(level) for level in LEVELS})


def ask(level):
    """(seconds, answer)"""
    began = time.perf_counter()
    with pool.use(level) as slm:
        answer = slm.chat("The capital of France is", max_tokens=4).text
    return time.perf_counter() - began, answer


empty = rss()
cold = {level: ask(level)[0] for level in LEVELS}
pool

# %% [markdown]
# All three are in memory now. You have used Q8_0, Q6_K, Q4_0, in this order; now you use Q4_0 and Q8_0 again. Then
# somebody sets a budget, in which only two have room. Which one is unloaded?

# %%
guess = None  # "Q8_0", "Q6_K" or "Q4_0"

warm = {level: ask(level)[0] for level in ("Q4_0", "Q8_0")}
pool.memory_bytes = rss() - 30e6  # 30 MB less than these three take
ask("Q8_0")
gone = [change for change in pool.changes if not change.loaded]
predict("Unloaded", guess, gone[0].model)
for change in pool.changes:
    print(f"{change.at_s:5.1f} s  {'+' if change.loaded else '-'} {change.model:5} "
          f"process {size(change.rss_bytes):>7}  {change.why}")
assert rss() <= pool.memory_bytes and "Q8_0" in pool.loaded

# %% [markdown]
# The one that was **least recently used** goes: LRU. It is a bet that what you used lately you will use again. The
# budget is held against *measured* memory. Estimates miss what the runtime takes besides the weights.
#
# ## What does unloading cost?
# The next request for an unloaded model waits for its load. How many times longer is a cold answer than a warm one?

# %%
guess = None  # times

ratio = cold["Q8_0"] / warm["Q8_0"]
predict("Cold against warm", guess, round(ratio, 1), "times")
print(f"Q8_0: cold {cold['Q8_0']:.2f} s, warm {warm['Q8_0']:.2f} s")
assert ratio > 1

# %% [markdown]
# `pool.warm("Q8_0")` pays that before anybody waits, and `pool.tidy()` unloads what was idle for too long. Both are
# right at times: warm up before the class begins, tidy up at night.
#
# ## What is in use stays
# A model that is answering may not be unloaded. If there is no room beside it, an honest pool refuses, and says when
# to come back. (A dishonest one lets the system kill somebody.)

# %%
pool.memory_bytes = None
with pool.use("Q8_0") as busy:
    pool.memory_bytes = 1  # as if another program had taken it all
    try:
        with pool.use("Q6_K"):
            pass
    except NoRoom as refused:
        print(refused, f"(after {refused.retry_after_s} s)")
    print("still answering:", busy.chat("The capital of France is", max_tokens=4).text)
assert pool.loaded == [], "too much even alone: unloaded when its last user left"
pool.memory_bytes = None

# %% [markdown]
# ## On battery
# A small model answers with fewer bytes moved, so with less energy. What does this machine tell?

# %%
sensors = Sensors()
told = sensors.read()
told

# %% [markdown]
# On most servers there is no battery, and the pool goes on as always. To see what a laptop would do, **we make the
# figures up**: the battery empties, then somebody finds the charger. Saving starts below 40 % and ends above 60 %.

# %%
battery = {"percent": 90.0, "plugged": 0.0}
mode = PowerMode(lambda: {"battery_percent": battery["percent"], "plugged": battery["plugged"]})
laptop = ModelPool({level: opened(level) for level in LEVELS}, saving=mode.saving,
                   instead={"Q8_0": "Q4_0"})
for percent, plugged in ((90, 0), (50, 0), (39, 0), (50, 0), (50, 1), (50, 0)):
    battery.update(percent=percent, plugged=plugged)
    print(f"{percent} % {'on mains' if plugged else 'on battery'}: {laptop.choose('Q8_0'):5} ({mode.why})")
assert laptop.choose("Q8_0") == "Q8_0"

# %% [markdown]
# At 50 % it is once the large one and once the small one: it depends on where it came from. That is **hysteresis**.
# With one limit only, a battery that flickers around it would load and unload at every request.
#
# ## More workers
# Requests wait: let us take more of them at once! That helps as long as there are cores with nothing to do. Here are 8
# requests, taken 1, 2, 4 and 8 at a time by one model. How many times faster is 8 at a time than 1 at a time?

# %%
guess = None  # times

speeds = {}
with pool.use("Q8_0") as slm:
    for at_once in (1, 2, 4, 8):
        began = time.perf_counter()
        with ThreadPoolExecutor(at_once) as workers:
            list(workers.map(lambda i: slm.chat(f"Tell me about {i}.", max_tokens=24), range(8)))
        speeds[at_once] = 8 / (time.perf_counter() - began)
predict("8 at a time against 1", guess, round(speeds[8] / speeds[1], 1), "times")

# %%
figure, axes = plt.subplots()
axes.plot(list(speeds), list(speeds.values()), color="black")
axes.set(xlabel="requests at a time", ylabel="requests a second", xticks=list(speeds), ylim=(0, None))
alt(figure, "Requests a second by how many are taken at a time: "
    + ", ".join(f"{n}: {speed:.2f}" for n, speed in speeds.items()) + ".")

# %% [markdown]
# The gain comes from batching: the weights are read once for several answers. It ends where the cores have no more
# time, and every further worker only makes each answer slower.
#
# ## Choose by load
# A router (lesson 03) can look at how busy a model is. Up to two answers are made by the model in this notebook; what
# comes on top goes to a **server that batches**. That is vLLM if one is running here (lesson 08), else llama.cpp's.
# Of 8 requests that come at once, how many does the server answer?

# %%
guess = None  # 0 to 8

running = next(managed.running("vllm"), None)
if running or needs("xllamacpp", stop=False):
    server = (lk.connect("vllm", base_url=running.base_url) if running else
              lk.connect("llama.cpp-server", slots=4, context_length=1024))
    with pool.use("Q8_0") as slm, server, ThreadPoolExecutor(8) as clients:
        busy = when(lambda case: case.busy >= 2, LARGE, "two are in the making here")
        router = Router(slm, server, first(busy, always(SMALL)))
        began = time.perf_counter()
        list(clients.map(lambda i: router.chat(f"Tell me about {i}.", max_tokens=24), range(8)))
        seconds = time.perf_counter() - began
    there = [routed for routed in router.log if routed.tier == LARGE]
    predict("Answered by the server", guess, len(there), "of 8")
    print(f"{8 / seconds:.2f} requests/s with both, {max(speeds.values()):.2f} with the best of one")
    print(there[-1].why)

# %% [markdown]
# On one machine the second server brings little or nothing: both live off the same cores. What the choice does bring is
# a place for the overflow, and with another machine behind it, real speed. Only measuring tells which case you have.
#
# ## Up and down by itself
# So a scaler needs an upper bound, and a reason for each
# step. `Scaler` looks at how long requests wait.
#
# Below is a **replay**, not a run: requests come by a made-up timetable and are served at the speeds that you just
# measured. One worker more when they waited above 1 s for 2 s; one less after 5 s with nothing to do.

# %%
scaler = Scaler(1, 8, high_s=1.0, low_s=0.1, up_after_s=2, down_after_s=5, clock=lambda: now)
rate = {n: speeds[max(k for k in speeds if k <= n)] for n in range(1, 9)}
workers, waiting, history = 1, 0.0, []
for now in range(90):
    arrivals = 1.3 * speeds[1] if 10 <= now < 40 else 0.2 * speeds[1]
    waiting = max(0.0, waiting + arrivals - rate[workers])
    step = scaler.look(waiting / rate[workers], workers)
    if step.workers != workers:
        print(f"at {now} s: {workers} → {step.workers}. {step.why}")
    workers = step.workers
    history.append((waiting / rate[workers], workers))

# %%
figure, (top, bottom) = plt.subplots(2, 1, sharex=True)
top.plot([delay for delay, _ in history], marker="", color="black")
top.set(ylabel="wait, s")
bottom.step(range(90), [n for _, n in history], where="post", marker="", color="black")
bottom.set(xlabel="time, s", ylabel="workers", ylim=(0, 8.5))
longest, most = (max(figures) for figures in zip(*history))
alt(figure, f"Above, the wait grows to {longest:.1f} s while too many requests come, and falls; "
            f"below, workers go from 1 to {most} and back to {history[-1][1]}.")

# %% [markdown]
# ## A service that outlives the notebook
# Until now a server was a thread of this notebook and ended with it. A **deployment** is a file that says what shall
# run, and processes that run it: they stay when the command that started them has ended. The key of the service is in a
# variable, never in the file.

# %%
os.environ["LESSON_KEY"] = "open sesame"
folder = Path(tempfile.mkdtemp())
file = folder / "lesson16.yaml"
file.write_text("""
name: lesson16
port: 8516
replicas: 2
key_env: LESSON_KEY
limits:
  at_once: 4
""", encoding="utf-8")
print(deployment.read(file).replicas, "replicas on ports from", deployment.read(file).port)

# %% [markdown]
# A file that is wrong is refused with its line, before anything starts.

# %%
wrong = folder / "wrong.yaml"
wrong.write_text("name: lesson16\nlimits:\n  at_onec: 4\n", encoding="utf-8")
try:
    deployment.read(wrong)
except lk.BadRequest as error:
    print(error)
    assert "line 3, limits.at_onec" in str(error)

# %% [markdown]
# `up` starts two replicas and a **gateway**, and returns when all three answer. If anything fails, nothing stays. In a
# terminal: `labkit deploy up FILE`.

# %%
pool.close()
status = deploy.up(file)
status

# %% [markdown]
# ## What if one of them dies?
# Below, 8 requests go in while one of the two replicas is killed: not asked to end, killed. How many of the 8 will get
# no answer?

# %%
guess = None  # 0 to 8

headers = {"authorization": f"Bearer {os.environ['LESSON_KEY']}"}
body = {"max_tokens": 12, "messages": [{"role": "user", "content": "What is the capital of France?"}]}


def send(_):
    url = f"{status.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=60).status_code


with ThreadPoolExecutor(4) as clients:
    answers = [clients.submit(send, i) for i in range(8)]
    time.sleep(0.3)
    psutil.Process(status.processes[1].pid).kill()
codes = [answer.result() for answer in answers]
predict("Requests without an answer", guess, 8 - codes.count(200))
print(codes)
assert codes == [200] * 8

# %% [markdown]
# The gateway had sent some of them to the replica that died. An answer that has not begun can be asked for again: a
# chat changes nothing, so asking twice does no harm. For an order that is paid it would. And what died is started
# again:

# %%
end = time.monotonic() + 60
while not deploy.status("lesson16").ok and time.monotonic() < end:
    time.sleep(0.2)
status = deploy.status("lesson16")
assert status.ok
status

# %%
print(deploy.down("lesson16"), "processes ended")
assert "lesson16" not in deploy.names()

# %% [markdown]
# ## A new version, for every fourth request
# A version that works on your desk may not work for your users. A **canary** gets a share of the requests, and is
# rolled back or promoted by what it shows there. `Rollout` decides, and knows nothing of HTTP. Here the new version
# fails one time in five; the old one never. After how many requests is it decided, at the earliest?

# %%
guess = None  # requests

rollout, sent = Rollout(deployment.Canary(share=25, at_least=10)), 0
while rollout.state == "on trial":
    sent += 1
    version = rollout.choose()
    fails = version == "canary" and rollout.seen["canary"].requests % 5 == 4
    rollout.record(version, ok=not fails, seconds=0.2)
predict("Decided after", guess, sent, unit="requests")
print(rollout)
assert rollout.state == "rolled back" and sent == 40

# %% [markdown]
# Look at the interval: 2 failures in 10 may come from a version that fails in 6 % or in 51 % of all cases. Ten answers
# are few. More answers make a better decision, and more users who met a version that fails.
#
# ## More than one machine
# Two processes on one machine survive the death of a process. The death of a *machine* needs a second one, and someone
# who notices, moves the work and shares it out. That is a field of its own, and **Ray** does it. The file says which
# machines there are and how much each can hold; this is what each of them runs to join:

# %%
example = data_folder("deploy") / "distributed.yaml"
print(example.read_text(encoding="utf-8"))
for line in ray_deploy.commands(deployment.read(example)):
    print(line)

# %% [markdown]
# It needs `pip install "labkit[ray]"`. The course's tests do it with a cluster of several nodes on one machine, and
# kill one under load; the README has the figures.
#
# ## Exercises
# **16.1** Write `to_unload(used, sizes, room)`: which models must go so that the rest fits into `room`. `used` lists
# the models in memory, the least recently used first; `sizes` has the size of each. Unload no more than needed.

# %%
def to_unload(used, sizes, room):
    # solution
    gone, held = [], sum(sizes[name] for name in used)
    for name in used:
        if held <= room:
            break
        gone.append(name)
        held -= sizes[name]
    return gone
    # end
    #~ ...

# %%
check("16.1", to_unload)

# %% [markdown]
# **16.2** A replica did not give a good answer. May the gateway ask another one? Write
# `ask_again(status, begun, harmless)`: `status` is the HTTP status, `None` when the replica died; `begun` says whether
# the client has part of the answer; `harmless` whether asking twice does no harm. Yes for what died and for 503 (it is
# full; nothing was done); what died may have done half of the work, and a client's own mistake (400) stays one.

# %%
def ask_again(status, begun, harmless):
    # solution
    if begun:
        return False
    return status == 503 or (status is None and harmless)
    # end
    #~ ...

# %%
check("16.2", ask_again)

# %% [markdown]
# **16.3** Write `verdict(new, old, at_least, more)`: `new` and `old` are pairs (failed, requests). `"wait"` until both
# have `at_least` requests; then `"roll back"` if the new version's share of failures is above the old one's by more
# than `more`; else `"promote"`.

# %%
def verdict(new, old, at_least, more):
    # solution
    if min(new[1], old[1]) < at_least:
        return "wait"
    return "roll back" if new[0] / new[1] > old[0] / old[1] + more else "promote"
    # end
    #~ ...

# %%
check("16.3", verdict)

# %% [markdown]
# ## What you have seen
# - A budget is held against measured memory; the least recently used goes first, what is in use stays.
# - Two limits instead of one (hysteresis) keep a battery or a queue from making things flicker.
# - More workers on the same cores help little. Each step up or down should quote the figure behind it.
# - A killed replica costs no answer if someone can ask again, and a new version should earn its requests.
