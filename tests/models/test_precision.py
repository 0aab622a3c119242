"""What training computes in: bfloat16 only where the processor does. Elsewhere it is emulated, twenty times slower."""
from __future__ import annotations

import os
import subprocess

import pytest

from labkit.models import adapter
from labkit.models.environments import environment

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import torch, train_lora
torch.cuda.is_available = lambda: False
for found in ({}, {"avx2": True, "avx512_bf16": False}, {"avx512_bf16": True}, {"amx_bf16": True}):
    torch.cpu.get_capabilities = lambda: found
    print(train_lora.precision())
"""


def test_bfloat16_only_where_the_processor_has_it():
    tools = environment("workshop")
    if reason := tools.why_not():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = os.path.dirname(adapter.__file__)
    found = subprocess.run([tools.python, "-c", SCRIPT, folder], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["torch.float32"] * 2 + ["torch.bfloat16"] * 2
