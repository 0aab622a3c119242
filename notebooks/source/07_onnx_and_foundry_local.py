# %% [markdown]
# # 07 · ONNX Runtime and Foundry Local
#
# So far one engine ran the model: llama.cpp. **ONNX** is a format that describes a model as a graph of
# operators, and **ONNX Runtime** (ORT) runs such graphs on many kinds of hardware. **Foundry Local** is
# Microsoft's runtime for language models on a device; inside it works ORT.
#
# Question of this lesson: *what changes when the same model runs in another runtime?* You compare the
# answers, look into the runtime with its own profiler, and check what a guide from 2025 said of both.

# %%
import inspect
import json
import time
from statistics import median

import matplotlib.pyplot as plt

import labkit as lk
from labkit.backends.foundry_local import FoundryLocal
from labkit.backends.onnx import Onnx
from labkit.course import HATCHES, alt, check, needs, plot_style, predict
from labkit.models import workshop
from labkit.models.hardware import machine, usable_cores
from labkit.profiling import ort_trace
from labkit.table import Table, size

plot_style()
needs(onnx=lambda: Onnx.why_not() or True, how="It is made once, from the model that came with the course.")

# %% [markdown]
# ## The same model, another form
# From the one model file of the course a converter has made a folder for ORT. The weights are in one file,
# the graph in another, and `genai_config.json` says how to use them.

# %%
folder = workshop.require("onnx")
for file in sorted(folder.iterdir()):
    print(f"{size(file.stat().st_size):>8}  {file.name}")

# %%
loads = {}
models = {}
for name in ("llama.cpp", "onnx"):
    started = time.perf_counter()
    models[name] = lk.connect(name)
    loads[name] = time.perf_counter() - started
    print(f"{models[name].model:32} loaded in {loads[name]:.2f} s")

# %% [markdown]
# Same model, same question, and always the likeliest token. Of five answers of up to 24 tokens, how many
# will be the same in both runtimes, letter by letter?

# %%
guess = None  # your guess, 0 to 5
questions = ["What is the capital of France?", "Tell me a story about a dragon.", "What is water made of?",
             "Who wrote Hamlet?", "How many legs has a spider?"]
answers = {name: [slm.chat(q, max_tokens=24).text for q in questions] for name, slm in models.items()}
same = sum(a == b for a, b in zip(answers["llama.cpp"], answers["onnx"], strict=True))
assert all("Paris" in texts[0] for texts in answers.values())
predict("Equal answers", guess, same, "of 5")

# %%
for i, question in enumerate(questions):
    print(question, *(f"   {name:10} {texts[i]!r}" for name, texts in answers.items()), sep="\n")

# %% [markdown]
# The weights in this form are in 32 bits. The guide takes 4-bit ones, and the workshop makes that form too
# (`labkit models build onnx:int4`). In each form the next cell counts the answers equal to llama.cpp's. It also asks
# how likely llama.cpp's answers are there, per token (in nats; 0 would be certain): the closer to llama.cpp's own
# number, the closer the two models.

# %%
pairs = [([{"role": "user", "content": q}], a) for q, a in zip(questions, answers["llama.cpp"], strict=True)]
tokens = sum(models["llama.cpp"].count_tokens(a) for a in answers["llama.cpp"])


def compared(name, slm):
    equal = sum(slm.chat(q, max_tokens=24).text == a for q, a in zip(questions, answers["llama.cpp"], strict=True))
    return name, equal, sum(slm.backend.loglikelihood(pairs)) / tokens


rows = [compared("llama.cpp", models["llama.cpp"])]
for precision in ("fp32", "int4"):
    if other := workshop.form("onnx", precision):
        with lk.connect("onnx", other) as slm:
            rows.append(compared(f"onnx {precision}", slm))
assert rows[0][1] == len(questions)
Table(("form", "equal answers, of 5", "nats a token"), tuple((n, str(e), f"{nats:.2f}") for n, e, nats in rows))

# %% [markdown]
# With weights in 32 bits ONNX Runtime says what llama.cpp says. Rounded to 4 bits, a weight has 16 possible
# values in its block, and the model is another one: where two words are nearly as likely the rounding
# decides, and from there on the text goes another way. The runtime is not what you hear; the **form** is.
# So labkit's default for this runtime is the form in 32 bits, though it is the larger and slower one.

# %% [markdown]
# ## Execution providers: who computes
# An operator of the graph is computed by an **execution provider**, a library for one kind of hardware. The
# guide says that an agent can use the best hardware there is, without a change of code. Here is what ORT
# knows, and what the package that is installed here can use.

# %%
import onnxruntime as ort

FOR = {"CPUExecutionProvider": "any processor; always there", "CUDAExecutionProvider": "NVIDIA GPUs",
       "TensorrtExecutionProvider": "NVIDIA GPUs, graph compiled ahead", "DmlExecutionProvider": "GPUs on Windows",
       "CoreMLExecutionProvider": "Apple's GPU and neural engine", "QNNExecutionProvider": "Qualcomm NPUs",
       "OpenVINOExecutionProvider": "Intel processors, GPUs, NPUs", "WebGpuExecutionProvider": "GPUs, also in browsers",
       "MIGraphXExecutionProvider": "AMD GPUs", "AzureExecutionProvider": "no hardware: calls a cloud service"}
here = ort.get_available_providers()
assert "CPUExecutionProvider" in here
Table(("provider", "for"), tuple(
    (name.removesuffix("ExecutionProvider"), FOR[name] + " **(in this package)**" * (name in here))
    for name in ort.get_all_providers() if name in FOR),
    note=f"ORT {ort.__version__} knows {len(ort.get_all_providers())} providers.")

# %% [markdown]
# So the claim holds in part. The code does not change, but the *package* does (there is one for CUDA, one for
# Windows' GPUs), and with language models the *folder* does too: it is converted for one provider, which
# `genai_config.json` names. An empty list is the processor.

# %%
config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
print("providers:", config["model"]["decoder"]["session_options"]["provider_options"])
print("context:  ", config["model"]["context_length"], "tokens")

# %% [markdown]
# ## Graph optimisation
# Before it runs a graph, ORT makes it smaller: it computes what is constant, and **fuses** operators, so that
# one kernel does the work of several. How much faster is our model with all of it than with none?

# %%
guess = None  # your guess: times as fast, 1 is no difference
levels = ort_trace.optimise(folder, threads=usable_cores())
before, after = levels[0], levels[-1]
assert after.operators < before.operators
predict("All optimisations against none", guess, before.run_ms / after.run_ms, "times as fast")
Table(("level", "operators", "load, s", "reading 32 tokens, ms"), tuple(
    (row.level, str(row.operators), f"{row.load_s:.2f}", f"{row.run_ms:.0f}") for row in levels))

# %% [markdown]
# There is little left to do, because the converter did it: the graph it writes already has one operator for
# a layer's whole attention (`GroupQueryAttention`) and one for a product with packed weights. A graph straight
# out of a training framework has many times more operators. Optimise once, when you convert.

# %% [markdown]
# ## The profiler: where the time goes
# ORT can write down every kernel it runs. Below: a prompt read, then 16 tokens written, with the profiler on.
# What share of a token's time goes into multiplying by the weights?

# %%
guess = None  # your guess, per cent
times = ort_trace.operator_times(folder, "The capital of France is", threads=usable_cores())
roles = times.by_role()
assert max(roles, key=roles.get) == "weights"
predict("Share of the weights", guess, 100 * roles["weights"] / sum(roles.values()), "%")
times

# %%
figure, axes = plt.subplots(figsize=(6.5, 2.2))
left = 0.0
for i, (role, ms) in enumerate(roles.items()):
    grey = str(0.35 + 0.12 * i)
    axes.barh(0, ms, left=left, hatch=HATCHES[i], color=grey, edgecolor="black", label=f"{role} {ms:.2f} ms")
    left += ms
axes.set(yticks=[], xlabel="milliseconds a token", title="One token in ONNX Runtime, by what the operators are for")
axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.35))
alt(figure, f"A bar of {left:.1f} milliseconds, the time of one token. The products with the weights take "
            f"{roles['weights'] / left:.0%} of it; attention, norms and the rest share what is left.")

# %% [markdown]
# That is the whole story of small models on a processor: each token reads all the weights once. What makes
# a token cheaper is fewer bytes of weights. Attention grows with the length of the conversation, the weights
# do not.
#
# ## Guidance: an answer that fits
# ONNX Runtime GenAI can hold an answer to a JSON schema, a grammar or a regular expression, as labkit does it
# for llama.cpp. labkit asks each runtime by trying, and shows what it found.

# %%
order = {"type": "object", "required": ["item", "count"], "additionalProperties": False, "properties": {
    "item": {"enum": ["mug", "shirt", "poster"]}, "count": {"type": "integer", "minimum": 1, "maximum": 99}}}
for name, slm in models.items():
    reply = slm.chat("I would like two shirts, please.", schema=order)
    assert reply.parsed["item"] in ("mug", "shirt", "poster")
    print(f"{name:10} {sorted(slm.capabilities.constraints)} -> {reply.parsed}")

# %% [markdown]
# A schema makes an answer *valid*. Whether it is *right* is still up to the model: look at the counts.
#
# ## Foundry Local
# Foundry Local adds to ORT what an application wants: a catalogue of models, downloads, a cache, sessions. Its
# Python package runs in your process. A model of your own is **registered**: its folder stays where it is.

# %%
needs(foundry_local=lambda: FoundryLocal.why_not() or True, how="It exists for Linux and Windows on x64, and macOS.")
from foundry_local_sdk import CatalogType, ChatSession, MessageItem, Request, RequestOptions, SearchOptions

from labkit.backends import foundry_runtime

manager = foundry_runtime.manager()
entry = foundry_runtime.registered(folder)
print("registered:", entry.id, "| task:", entry.info.task, "| context:", entry.context_length)
print("local catalogue:", [model.id for model in manager.get_catalog(CatalogType.LOCAL).list_models()])
started = time.perf_counter()
models["foundry-local"] = lk.connect("foundry-local")
loads["foundry-local"] = time.perf_counter() - started

# %% [markdown]
# A chat with the package's own objects: a session over the loaded model, a request made of items, a stream.

# %%
message = MessageItem.user("What is the capital of France?")
with ChatSession(entry) as session, Request() as request:
    session.set_options(RequestOptions(search=SearchOptions(temperature=0.0, max_output_tokens=24)))
    session.set_streaming(True)
    request.add_item(message)
    with session.process_streaming_request(request) as stream:
        text = "".join(item.text for item in stream)
        with stream.final_response as final:
            print(text, "|", final.finish_reason.name, final.get_usage())
assert text == answers["onnx"][0]  # the same graph, the same tokens

# %% [markdown]
# And through labkit, with a schema. Its request options `guidance_type` and `guidance_data` are in no
# document, but the runtime obeys them; labkit found that by trying, and tries again on your machine.

# %%
reply = models["foundry-local"].chat("I would like two shirts, please.", schema=order)
print(models["foundry-local"].capabilities)
reply.parsed

# %% [markdown]
# ## What became of the guide's Foundry Local
# The guide was written in 2025. How many of its eleven calls does the package of today still have? Nothing
# here is typed in: the cell looks each one up in what is installed.

# %%
import foundry_local_sdk as sdk

guess = None  # your guess, 0 to 11
guide = ["FoundryLocalManager.endpoint", "FoundryLocalManager.api_key", "FoundryLocalManager.get_model_info",
         "FoundryLocalManager.health_check", "FoundryLocalManager.is_model_loaded",
         "FoundryLocalManager.get_memory_usage", "ModelConfig", "ModelConfig.quantization", "ModelConfig.threads",
         "ModelConfig.gpu_layers", "ModelConfig.numa"]
now = {"endpoint": "start_web_service(), then .urls", "api_key": "none: it is your process",
       "get_model_info": "IModel.info", "health_check": "none: it is your process",
       "is_model_loaded": "IModel.is_loaded", "ModelConfig": "Configuration"}


def there(path):
    thing = sdk
    for part in path.split("."):
        thing = getattr(thing, part, None)
    return thing is not None


predict("Calls that are still there", guess, sum(map(there, guide)), "of 11")
instead = {path: now.get(path.split(".")[-1], "nothing") for path in guide}
Table(("the guide's call", "today"), tuple(
    (path, "there" if there(path) else f"gone; instead: {instead[path]}") for path in guide))

# %%
for path in ("FoundryLocalManager.start_web_service", "Model.info", "Model.is_loaded", "Configuration"):
    assert there(path), path
settings = set(inspect.signature(sdk.Configuration).parameters)
wanted = {"quantization", "context_length", "threads", "gpu_layers", "memory_lock", "numa"}
print("of the guide's tuning knobs, Configuration takes:", sorted(settings & wanted) or "none")

# %% [markdown]
# The package's name changed too: it is `foundry_local_sdk`, and the service of the guide (`foundry service
# start`) is not needed any more. What the guide sets by hand, Foundry Local takes from the model's folder: the
# form of the weights decides the quantisation, and the provider.
#
# ## The catalogue, and the variant for your machine
# An alias such as `phi-4-mini` stands for several **variants**: one for the processor, one for each kind of GPU
# or NPU. Foundry Local lists only what can run here. Without a network its catalogue is empty, after about
# four seconds of trying, so this lesson asks it only if you say so.

# %%
ask_the_catalogue = False  # True, if you have a network

print("execution providers to add:", [provider.name for provider in manager.discover_eps()] or "none for this machine")
print(machine())
if ask_the_catalogue:
    for found in manager.catalog.list_models():
        print(found.alias, [(v.id, v.info.file_size_mb) for v in found.variants])

# %% [markdown]
# With a network, `lk.connect("foundry-local", "qwen2.5-0.5b", on_progress=print)` downloads the model once and
# keeps it; `device="cpu"` asks for that variant.
#
# ## Three runtimes, one table
# Measured here, now, one request at a time: the same three prompts, 32 tokens each.

# %%
def measure(slm):
    replies = [slm.chat(question, max_tokens=32) for question in questions[1:4]]
    return (median(r.timing.ttft_s for r in replies) * 1000,
            median(r.timing.tokens_per_s for r in replies))


rows = []
for name, slm in models.items():
    ttft, speed = measure(slm)
    able = slm.capabilities
    rows.append((name, f"{loads[name]:.2f}", f"{ttft:.0f}", f"{speed:.0f}", "yes" if able.constraints else "no",
                 "yes" if able.scores else "no", "yes" if able.prefix_cache else "no"))
assert len(rows) == 3
Table(("runtime", "load, s", "first token, ms", "tokens/s", "schema", "scores", "prefix cache"), tuple(rows),
      note="Load: the first time in this notebook. Other programs that run meanwhile slow all of it.")

# %% [markdown]
# The guide's table calls Foundry Local "balanced" and installation "automatic". Above are numbers. Two columns
# decide for agents. **Scores**: a runtime that can say how likely a text is lets labkit choose tools well.
# **Prefix cache**: an agent sends the same instructions again and again, and llama.cpp does not read them twice.
#
# ## Exercises
# **07.1** The trace is a list of events. Return each operator's share of all kernel time, as a dict. Only
# events whose name ends in `_kernel_time` count; the operator is in `event["args"]["op_name"]`.

# %%
def shares(events):
    # solution
    kernels = [event for event in events if event["name"].endswith("_kernel_time")]
    total = sum(event["dur"] for event in kernels)
    found = {}
    for event in kernels:
        name = event["args"]["op_name"]
        found[name] = found.get(name, 0) + event["dur"] / total
    return found
    # end
    #~ ...  # {operator: share of the kernel time}

# %%
check("07.1", shares)

# %% [markdown]
# **07.2** Give ORT its providers in the right order: those of `wanted` that are `available`, in the order
# wanted, without doubles, and the processor last, whether it was wanted or not.

# %%
def providers(wanted, available):
    # solution
    cpu = "CPUExecutionProvider"
    chosen = [name for name in dict.fromkeys(wanted) if name in available and name != cpu]
    return [*chosen, cpu]
    # end
    #~ ...  # a list of names

# %%
check("07.2", providers)

# %% [markdown]
# **07.3** Choose a variant. Each is a dict with `id`, `device` ("cpu", "gpu", "npu") and `megabytes`. Take the
# largest that fits into the free memory (a model needs 1.2 times its size) on a device that the machine has. A
# larger one rounds its weights less. None, if nothing fits.

# %%
def choose_variant(variants, devices, free_megabytes):
    # solution
    fits = [v for v in variants if v["device"] in devices and 1.2 * v["megabytes"] <= free_megabytes]
    return max(fits, key=lambda v: v["megabytes"])["id"] if fits else None
    # end
    #~ ...  # an id, or None

# %%
check("07.3", choose_variant)

# %% [markdown]
# ## What you saw
# - The same weights in another runtime give the same answers; coarser weights give others.
# - An execution provider is a package and a converted folder, not a switch.
# - The converter had fused the graph already; optimising it again changed little.
# - A token's time is the reading of the weights. The profiler shows it in one table.
# - Of an API that was new in 2025 little is left. Look into the installed package before you believe a page.
