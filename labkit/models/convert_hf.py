"""Turn a GGUF into a Hugging Face folder: `python convert_hf.py GGUF FOLDER float32|bfloat16`.

Runs inside the workshop environment, offline. Prints lines of the form "FRACTION what is being done".
"""
from __future__ import annotations

import sys
from pathlib import Path


def say(fraction: float, text: str) -> None:
    print(f"{fraction:.2f} {text}", flush=True)


def model_of(gguf: Path, dtype):
    """The weights, decoded to `dtype`, in a model that has never heard of GGUF.

    transformers refuses to save a model that it read from a GGUF, because it counts as quantised.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = gguf.name.split(".")[0]
    model = type(read)(config).to(dtype)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id)
    return model


# How a GGUF with tokenizer.ggml.pre = "smollm" splits text before the merges: llama.cpp's own two patterns.
SPLITS = (r"\p{N}", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def tokenizer_of(gguf: Path):
    """The tokenizer, its chat template with it, splitting text as the model was taught.

    SmolLM2 sees every digit as a token of its own. transformers does not read the GGUF's key for that, and
    tokenises one line in five of a page with figures otherwise than llama.cpp. Written as patterns, because
    ONNX Runtime's tokenizer passes over the splitter named Digits without a word.
    """
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    splits = [Split(Regex(pattern), behavior="isolated") for pattern in SPLITS]
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [*splits, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def main(gguf: str, folder: str, dtype: str) -> None:
    say(0.0, "Loading PyTorch")
    import torch
    say(0.1, "Decoding the weights")
    model = model_of(Path(gguf), getattr(torch, dtype))
    say(0.6, "Reading the tokenizer")
    tokenizer = tokenizer_of(Path(gguf))
    tokenizer.model_max_length = model.config.max_position_embeddings
    say(0.8, "Writing")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
