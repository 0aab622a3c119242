"""What training computes in: bfloat16 only where the processor does. Elsewhere it is emulated, twenty times slower."""
from __future__ import annotations

SCRIPT = """
import torch, train_lora
torch.cuda.is_available = lambda: False
taken = []
for flags in ({}, {"avx2": True, "avx512_bf16": False}, {"avx512_bf16": True}, {"amx_bf16": True}):
    torch.cpu.get_capabilities = lambda: flags
    taken.append(train_lora.precision())
print(*taken)
"""


def test_bfloat16_only_where_the_processor_has_it(in_workshop):
    assert in_workshop(SCRIPT).split() == ["torch.float32"] * 2 + ["torch.bfloat16"] * 2
