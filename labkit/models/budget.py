"""What a model costs before it is downloaded: file, memory, and the speed it cannot exceed.

Arithmetic on the model's shape. Knows nothing of runtimes; `shape_of` asks llama.cpp to read a file.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, ModelFileError
from labkit.models import gguf_file
from labkit.table import Shown, Table, size

# Bits per weight, from ggml's block layouts (ggml-common.h): a Q8_0 block holds 32 weights in 32
# bytes and a 2-byte scale, so 34 * 8 / 32 = 8.5. Q4_K_M mixes Q4_K and Q6_K; its figure is what
# llama.cpp's quantisation tool states for an 8B model, and small models come out higher.
BITS = {"F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_1": 6.0, "Q5_0": 5.5,
        "Q4_1": 5.0, "Q4_K_M": 4.89, "Q4_0": 4.5, "Q4_K": 4.5}


@dataclass(frozen=True)
class Shape:
    """A decoder-only transformer with gated feed-forward layers (Llama, Qwen2, Phi-3 and their kin)."""

    name: str
    layers: int
    width: int        # embedding length
    ffn: int          # feed-forward length
    heads: int        # query heads
    kv_heads: int     # key/value heads; fewer than `heads` is grouped-query attention
    head_dim: int
    vocab: int
    context: int      # tokens the model was trained for
    tied: bool = True       # one matrix is both the input table and the output head
    qkv_bias: bool = False  # Qwen2 adds a bias to q, k and v

    @property
    def table_parameters(self) -> int:
        return self.vocab * self.width

    @property
    def parameters(self) -> int:
        """Every weight: per layer q, k, v, o, gate, up, down and two norms; tables; the last norm."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * self.width * (q + kv) + (q + 2 * kv if self.qkv_bias else 0)
        layer = attention + 3 * self.width * self.ffn + 2 * self.width
        tables = self.table_parameters * (1 if self.tied else 2)
        return self.layers * layer + tables + self.width

    @property
    def read_parameters(self) -> int:
        """Weights read for one token: all but a separate input table, of which one row is looked up.

        A tied table is read whole, because it is the output head too.
        """
        return self.parameters - (0 if self.tied else self.table_parameters)


# From each model's published configuration. Only Phi-4-mini is small: Phi-4 itself has 14.7B, not 7B.
SHAPES = {shape.name: shape for shape in (
    Shape("SmolLM2-135M", 30, 576, 1536, 9, 3, 64, 49152, 8192),
    Shape("Qwen2.5-0.5B", 24, 896, 4864, 14, 2, 64, 151936, 32768, qkv_bias=True),
    Shape("Llama-3.2-1B", 16, 2048, 8192, 32, 8, 64, 128256, 131072),
    Shape("Llama-3.2-3B", 28, 3072, 8192, 24, 8, 128, 128256, 131072),
    Shape("Phi-4-mini", 32, 3072, 8192, 24, 8, 128, 200064, 131072),
    Shape("Qwen2.5-7B", 28, 3584, 18944, 28, 4, 128, 152064, 131072, tied=False, qkv_bias=True),
    Shape("Phi-4", 40, 5120, 17920, 40, 10, 128, 100352, 16384, tied=False),
)}


@dataclass(frozen=True)
class Budget(Shown):
    """One model in one form at one context length, on a machine if its figures are given."""

    shape: Shape
    form: str = "Q8_0"                 # a key of BITS
    context: int = 4096                # tokens of KV cache to reserve
    kv_bits: float = 16.0              # bits per value in the KV cache
    batch: int = 512                   # prompt tokens evaluated at once (llama.cpp's n_ubatch)
    bandwidth: float | None = None     # bytes/s of memory reads; see profiling.bandwidth
    memory_bytes: int | None = None    # bytes the process may use; see hardware.usable_memory

    @property
    def bits(self) -> float:
        return BITS[self.form]

    @property
    def file_bytes(self) -> int:
        """parameters x bits / 8. A real file adds its vocabulary, 1 to 10 MB."""
        return round(self.shape.parameters * self.bits / 8)

    @property
    def kv_bytes_per_token(self) -> float:
        """A key and a value per layer and KV head: 2 x layers x kv_heads x head_dim x bits / 8.

        Source: Pope et al. 2022, Efficiently Scaling Transformer Inference.
        """
        return 2 * self.shape.layers * self.shape.kv_heads * self.shape.head_dim * self.kv_bits / 8

    @property
    def kv_bytes(self) -> int:
        return round(self.kv_bytes_per_token * self.context)

    @property
    def compute_bytes(self) -> int:
        """Working memory: batch x (vocab + 3 x width) x 4 bytes, nearly all of it logits.

        Not a law: the size of llama.cpp's compute buffer, which it reserves for a full batch.
        """
        return self.batch * (self.shape.vocab + 3 * self.shape.width) * 4

    @property
    def ram_bytes(self) -> int:
        return self.file_bytes + self.kv_bytes + self.compute_bytes

    def bytes_per_token(self, position: int = 0) -> float:
        """Bytes read to decode one token with `position` tokens before it: the weights and their KV."""
        return self.shape.read_parameters * self.bits / 8 + self.kv_bytes_per_token * position

    def ceiling(self, position: int = 0) -> float | None:
        """Tokens/s that memory allows: bandwidth / bytes per token. None without a bandwidth.

        The memory roof of Williams et al. 2009, Roofline. It holds for one stream of tokens and for
        weights larger than the processor's cache: a small model partly in cache can exceed it.
        """
        return self.bandwidth / self.bytes_per_token(position) if self.bandwidth else None

    @property
    def fits(self) -> bool | None:
        """Whether it fits, with a tenth of the memory left for everything else. None: memory unknown."""
        return None if self.memory_bytes is None else self.ram_bytes <= 0.9 * self.memory_bytes

    def to_dict(self) -> dict[str, Any]:
        derived = ("bits", "file_bytes", "kv_bytes", "compute_bytes", "ram_bytes", "fits")
        return {**asdict(self), **{name: getattr(self, name) for name in derived},
                "parameters": self.shape.parameters, "ceiling_tokens_per_s": self.ceiling()}

    def table(self) -> Table:
        shape, ceiling = self.shape, self.ceiling()
        rows = [("parameters", f"{shape.parameters / 1e6:,.1f} M"),
                ("file", f"{size(self.file_bytes)}  ({self.bits:g} bits per weight)"),
                ("KV cache", f"{size(self.kv_bytes)}  ({size(self.kv_bytes_per_token)} per token)"),
                ("working memory", f"{size(self.compute_bytes)}  (batch of {self.batch})"),
                ("RAM in all", size(self.ram_bytes))]
        if ceiling:
            rows.append(("speed ceiling", f"{ceiling:.0f} tokens/s  at {self.bandwidth / 1e9:.1f} GB/s"))
        if self.fits is not None:
            rows.append(("fits this machine", f"{_yes(self.fits)}  ({size(self.memory_bytes)} usable)"))
        title = f"{shape.name}, {self.form}, context {self.context}"
        return Table(("budget", "value"), tuple(rows), title=title)


@dataclass(frozen=True)
class Budgets(Shown):
    """Several budgets, a row each."""

    budgets: tuple[Budget, ...]

    def __iter__(self):
        return iter(self.budgets)

    def table(self) -> Table:
        columns = ("model", "form", "parameters", "file", "KV cache", "RAM", "ceiling tokens/s", "fits")
        return Table(columns, tuple(map(_row, self.budgets)),
                     note=f"KV cache for {self.budgets[0].context} tokens. 1 GB is 10^9 bytes.")


def budget(model: str | Shape = "SmolLM2-135M", form: str = "Q8_0", **settings: Any) -> Budget:
    """The budget of a model: a name in SHAPES, or a Shape of your own. `settings` are Budget's fields.

    Raises BadRequest for an unknown model, an unknown form, or a context below 1.
    """
    if form not in BITS:
        raise BadRequest(f"Unknown form {form!r}. Use one of: {', '.join(BITS)}.")
    if settings.get("context", 1) < 1:
        raise BadRequest(f"A context of {settings['context']} tokens holds nothing. Give 1 or more.")
    return Budget(_find(model), form, **settings)


def what_fits(form: str = "Q4_K_M", models: Iterable[str | Shape] = SHAPES, **settings: Any) -> Budgets:
    """Every model in one form against this machine's memory (or `memory_bytes`), smallest first."""
    if "memory_bytes" not in settings:
        from labkit.models.hardware import usable_memory
        settings["memory_bytes"] = usable_memory()
    found = [budget(model, form, **settings) for model in models]
    return Budgets(tuple(sorted(found, key=lambda b: b.ram_bytes)))


def shape_of(path: str | Path) -> Shape:
    """The shape in a GGUF's metadata, read without loading the weights. Raises ModelFileError where there is none."""
    file = gguf_file.read(path)
    meta, arch = file.metadata, file.metadata.get("general.architecture")

    def number(key: str, default: int | None = None) -> int:
        if (value := meta.get(f"{arch}.{key}", default)) is None:
            raise ModelFileError(f"{file.path.name} is no language model: it does not say its {key}.")
        return int(max(value, default=0) if isinstance(value, list) else value)  # a list: one for each layer
    width, heads = number("embedding_length"), number("attention.head_count")
    shape = Shape(
        file.path.stem, number("block_count"), width, number("feed_forward_length"), heads,
        number("attention.head_count_kv", heads), number("attention.key_length", width // max(heads, 1)),
        number("vocab_size", len(meta.get("tokenizer.ggml.tokens", ()))), number("context_length"),
        qkv_bias=arch == "qwen2")
    # The metadata does not say whether the tables are tied; the count of weights does.
    return replace(shape, tied=abs(file.parameters - shape.parameters) < shape.table_parameters / 2)


def _find(model: str | Shape) -> Shape:
    if isinstance(model, Shape):
        return model
    if model not in SHAPES:
        raise BadRequest(f"Unknown model {model!r}. Use one of: {', '.join(SHAPES)}; or give a Shape.")
    return SHAPES[model]


def _row(item: Budget) -> tuple[str, ...]:
    return (item.shape.name, item.form, f"{item.shape.parameters / 1e9:.3g} B", size(item.file_bytes),
            size(item.kv_bytes), size(item.ram_bytes), _rate(item.ceiling()),
            "?" if item.fits is None else _yes(item.fits))


def _rate(tokens_per_s: float | None) -> str:
    if tokens_per_s is None:
        return "?"
    return f"{tokens_per_s:.3g}" if tokens_per_s < 100 else f"{tokens_per_s:.0f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
