"""Write a trained adapter as a GGUF that llama.cpp loads, and read such a file again.

Used by train_lora.py, inside the workshop environment.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

NAMES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
         "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
KEY = re.compile(r"layers\.(\d+)\.\w+\.(\w+)\.lora_([AB])\.")


def write(weights: Mapping, target: str | Path, alpha: float, heads: int, kv_heads: int,
          metadata: Mapping[str, str]) -> None:
    """Write LoRA weights, by peft's names, and what the file should say of itself."""
    import gguf
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(alpha))
    for key, value in metadata.items():
        writer.add_string(key, str(value))
    for name, tensor in weights.items():
        layer, projection, side = KEY.search(name).groups()
        array = tensor.float().numpy()
        if side == "B" and projection in ("q_proj", "k_proj"):
            array = interleaved(array, heads if projection == "q_proj" else kv_heads)
        data, kind = packed(array)
        writer.add_tensor(f"blk.{layer}.{NAMES[projection]}.weight.lora_{side.lower()}", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def packed(array: np.ndarray) -> tuple:
    """Half the size of F16 in Q8_0 (blocks of 32 with a scale), where whole blocks fit into a row."""
    import gguf
    if array.shape[-1] % 32:
        return array.astype(np.float16), None
    kind = gguf.GGMLQuantizationType.Q8_0
    return gguf.quants.quantize(array.astype(np.float32), kind), kind


def read(path: str, heads: int, kv_heads: int) -> dict[tuple[str, str, str], np.ndarray]:
    """The weights of an adapter by (layer, projection, "A" or "B"), in transformers' order."""
    import gguf
    projections, found = {short: name for name, short in NAMES.items()}, {}
    for tensor in gguf.GGUFReader(path).tensors:
        _, layer, short, _, side = tensor.name.split(".")
        projection, side = projections[short], side.removeprefix("lora_").upper()
        array = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if side == "B" and projection in ("q_proj", "k_proj"):
            array = halved(array, heads if projection == "q_proj" else kv_heads)
        found[layer, projection, side] = array
    return found


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """The rows of a query or key projection in GGUF's order: llama.cpp turns neighbours, transformers halves."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def halved(rows: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `interleaved`."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
