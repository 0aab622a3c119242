"""Merge an adapter into a model's weights: `python merge_gguf.py SOURCE.gguf ADAPTER.gguf TARGET.gguf`.

For runtimes that load no adapter. Runs inside the workshop environment; only `why_not` needs nothing of it. What the
adapter changes is decoded, changed in float32 and written as F16; all else is copied, the metadata too. Prints
lines of the form "FRACTION what is being done".
"""
from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = ("labkit.base", "labkit.format")  # what the merged file says as its adapter did
OWN = ("general.architecture", "general.file_type")  # what it says for itself
SIDES = (".lora_a", ".lora_b")


def why_not(source: Mapping[str, str], adapter: Mapping[str, str]) -> str | None:
    """None when an adapter is for a model, judged by the texts of both, else why it is not."""
    base, name = adapter.get("labkit.base", ""), f"{source.get('general.basename')}-{source.get('general.size_label')}"
    if (adapter.get("general.type"), adapter.get("adapter.type")) != ("adapter", "lora"):
        return "it is no LoRA adapter"
    if "labkit.base" in source:
        return "the model has an adapter in its weights already"
    if not f"{base}-".lower().startswith(f"{name}-".lower()):
        return f"it was trained on {base or 'an unknown model'}, and this is {name}"
    return None


def main(source: str, adapter: str, target: str) -> None:
    say(0.0, "Reading the weights")
    import gguf
    base, change = gguf.GGUFReader(source), gguf.GGUFReader(adapter)
    about = texts(change)
    if reason := why_not(texts(base), about):
        raise SystemExit(f"{Path(adapter).name} cannot be merged: {reason}.")
    changes, writer = read_changes(change), gguf.GGUFWriter(target, "llama")
    copy_metadata(base, writer)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for key in KEPT:
        writer.add_string(key, about.get(key, ""))
    for i, tensor in enumerate(base.tensors):
        if i % 27 == 0:
            say(0.1 + 0.6 * i / len(base.tensors), "Merging")
        add(writer, tensor, changes.pop(tensor.name, None))
    if changes:
        raise SystemExit(f"{Path(adapter).name} cannot be merged: the model has no {next(iter(changes))}.")
    write(writer, Path(target))


def say(fraction: float, text: str) -> None:
    print(f"{fraction:.2f} {text}", flush=True)


def texts(reader) -> dict[str, str]:
    """What a file says of itself in words, by key."""
    return {field.name: field.contents() for field in reader.fields.values() if field.types[0].name == "STRING"}


def read_changes(reader) -> dict[str, tuple]:
    """(A: (rank, in), B: (out, rank), scale) by the name of the tensor that becomes W + scale · B @ A.

    The rows of queries and keys lie as they do in the model's GGUF: nothing is to be put in another order.
    """
    import gguf
    found = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    alpha = reader.fields["adapter.lora.alpha"].contents()
    changes = {}
    for name in dict.fromkeys(name.removesuffix(SIDES[0]).removesuffix(SIDES[1]) for name in found):
        a, b = (found[name + side] for side in SIDES)
        changes[name] = a, b, alpha / len(a) if alpha else 1.0  # llama.cpp reads no alpha as no scaling
    return changes


def copy_metadata(reader, writer) -> None:
    """Every key as it is, but for OWN and for the counts, which the reader gives as keys."""
    for field in reader.fields.values():
        if field.name not in OWN and not field.name.startswith("GGUF."):
            of = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], of)


def add(writer, tensor, change: tuple | None) -> None:
    """A tensor of the model: as it is, or changed by the adapter."""
    import gguf
    import numpy as np
    if change is None:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        return
    a, b, scale = change
    weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    if weights.shape != (len(b), a.shape[1]):
        raise SystemExit(f"The adapter cannot be merged: its {tensor.name} has another shape than the model's.")
    writer.add_tensor(tensor.name, (weights + np.float32(scale) * (b @ a)).astype(np.float16))


def write(writer, target: Path) -> None:
    say(0.7, "Writing")
    target.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
