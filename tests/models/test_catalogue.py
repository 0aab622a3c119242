"""The catalogue: facts that agree with each other, and choices that follow from them."""
from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from labkit.errors import BadRequest, LabkitError
from labkit.models import catalogue, embedded
from labkit.models.budget import BITS

GB = 10**9
EVERY = list(catalogue.entries())


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.alias)
def test_the_shape_has_the_publishers_number_of_parameters(entry):
    assert entry.shape.parameters == entry.parameters


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.alias)
def test_a_download_is_about_as_large_as_its_weights(entry):
    """Catches a slip of a digit. K-quants of a small model, and Foundry Local's, keep its tables finer."""
    for variant in entry.variants.values():
        computed = entry.parameters * BITS[variant.form] / 8
        assert variant.form in BITS and 0.35 * computed < variant.bytes < 3 * computed
        assert variant.runtime in catalogue.RUNTIMES and variant.how


def test_it_covers_the_guides_models_and_the_embedded_one():
    named = {"qwen2.5-0.5b", "qwen2.5-coder-0.5b", "phi-4-mini", "phi-4", "phi-3.5-mini", "llama3.2-1b",
             "llama3.2-3b", "llama3.1-8b", "qwen2.5-7b", "codellama-7b", "codegemma-7b", "tinyllama-1.1b"}
    assert named <= {entry.alias for entry in EVERY}
    own = catalogue.find("smollm2-135m")
    assert own.variant("llama.cpp").bytes == embedded.WHEEL_BYTES
    assert own.variant("onnx").how == "labkit models build onnx" and own.variant().how == "lk.connect()"
    assert catalogue.find("phi-4-mini").variant("ollama").how == "ollama pull phi4-mini:3.8b-q4_K_M"


def test_every_role_names_models_that_exist_and_ends_with_one_that_is_here():
    _, roles, tasks = catalogue._read()
    assert set(tasks.values()) <= set(roles) == {"routing", "conversation", "reasoning", "code"}
    for models in roles.values():
        assert [catalogue.find(alias).alias for alias in models] == models and models[-1] == "smollm2-135m"


def test_the_first_that_fits_is_picked_and_the_others_have_their_reason():
    small = catalogue.pick("conversation", memory_bytes=int(2.1 * GB), cores=2, gpu=0)
    assert small.alias == "qwen2.5-1.5b"
    assert small.reasoning.startswith("phi-4-mini needs 3.46 GB, 2.1 GB free; ")
    assert small.reasoning.endswith(": qwen2.5-1.5b")
    assert catalogue.pick("conversation", memory_bytes=8 * GB, cores=4, gpu=0).reasons == ()
    for choice in (catalogue.pick(role, memory_bytes=4 * GB, cores=2, gpu=0) for role in ("code", "reasoning")):
        assert choice.entry.memory_bytes() <= 0.9 * 4 * GB


def test_memory_alone_is_not_enough_on_few_cores_but_a_gpu_is():
    slow = catalogue.pick("reasoning", memory_bytes=64 * GB, cores=2, gpu=0)
    assert "phi-4 would write about 2." in slow.reasoning and slow.alias != "phi-4" and not slow.on_gpu
    fast = catalogue.pick("reasoning", memory_bytes=4 * GB, cores=2, gpu=24 * GB)
    assert fast.alias == "phi-4" and fast.on_gpu


def test_a_runtime_that_lacks_a_model_or_needs_more_for_it():
    choice = catalogue.pick("conversation", memory_bytes=64 * GB, cores=8, gpu=0, runtime="onnx")
    assert choice.alias == "phi-4-mini" and choice.variant.id == "microsoft/Phi-4-mini-instruct-onnx"
    assert "not there for foundry-local" in catalogue.pick(
        "code", memory_bytes=1 * GB, cores=2, gpu=0, runtime="foundry-local").reasoning
    entry = catalogue.find("qwen2.5-0.5b")
    assert entry.memory_bytes("vllm") > entry.memory_bytes("ollama")  # 16 bits a weight against about 5


@pytest.mark.parametrize("task, role", [("light", "routing"), ("balanced", "conversation"),
                                        ("capable", "reasoning"), ("coding", "code")])
def test_the_guides_tasks_are_roles(task, role):
    here = {"memory_bytes": 6 * GB, "cores": 4, "gpu": 0}
    assert catalogue.pick(task, **here).entry == catalogue.pick(role, **here).entry


def test_this_machine_gets_an_answer():
    choice = catalogue.pick("routing")
    assert choice.alias in {"qwen2.5-0.5b", "smollm2-135m"}
    assert choice.alias in str(choice) and choice.entry.licence in choice._repr_markdown_()


def test_what_cannot_be_answered_says_what_can():
    with pytest.raises(BadRequest, match="Unknown role 'poetry'. Use one of: routing, .*coding"):
        catalogue.pick("poetry")
    with pytest.raises(BadRequest, match="no runtime 'tgi'"):
        catalogue.pick("code", runtime="tgi")
    with pytest.raises(BadRequest, match="No model is called 'phi-4-min'.*phi-4-mini"):
        catalogue.find("phi-4-min")
    with pytest.raises(LabkitError, match="No model for routing fits: qwen2.5-0.5b needs 765 MB, 100 MB free; smol"):
        catalogue.pick("routing", memory_bytes=10**8, cores=2, gpu=0)


def test_the_table_marks_estimates_and_shows_the_guides_figures():
    shown = str(catalogue.table())
    assert all(entry.alias in shown for entry in EVERY) and "7 GB" in shown
    tiny = catalogue.find("tinyllama-1.1b")
    assert tiny.variant("ollama").estimated and not tiny.variant("llama.cpp").estimated
    assert "~" in str(catalogue.pick("coding", memory_bytes=64 * GB, cores=8, gpu=0, runtime="mlx"))


def test_a_gpu_is_found_by_its_driver_and_a_broken_driver_is_none(tmp_path, monkeypatch):
    """A program named nvidia-smi that answers as NVIDIA's does with two GPUs, then one that fails."""
    if sys.platform == "win32":
        pytest.skip("a script cannot stand in for nvidia-smi.exe")
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for body, found in (("printf '8192\\n24576\\n'", 24576 << 20), ("exit 9", 0)):
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)
        catalogue.gpu_memory.cache_clear()
        assert catalogue.gpu_memory() == found
    catalogue.gpu_memory.cache_clear()


def test_its_data_go_into_the_wheel():
    """A catalogue that is only in the source tree would be missing wherever labkit is installed."""
    package = Path(catalogue.__file__).resolve().parents[1]
    setup = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = setup["tool"]["setuptools"]["package-data"]["labkit"]
    assert package / "models" / "catalogue.toml" in [file for each in patterns for file in package.glob(each)]
