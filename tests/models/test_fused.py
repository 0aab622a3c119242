"""The parts of training with gradients of their own compute what peft and PyTorch compute."""
from __future__ import annotations

import json

SCRIPT = """
import copy, json
import fused, torch
from peft import LoraConfig, get_peft_model
torch.manual_seed(0)
theirs = get_peft_model(torch.nn.Sequential(torch.nn.Linear(24, 40, bias=False)), LoraConfig(
    r=4, lora_alpha=6, target_modules=["0"], init_lora_weights=False))
ours = copy.deepcopy(theirs)
fused.fuse(ours)
x = torch.randn(2, 7, 24)
head, targets = torch.randn(50, 40), torch.randint(50, (150,))

def slopes(model, loss):
    inputs = x.clone().requires_grad_()
    hidden = model(inputs).flatten(0, 1).repeat(11, 1)[:150]
    value = loss(hidden)
    (3 * value).backward()
    return [value.detach(), inputs.grad, *(p.grad for p in model.parameters() if p.requires_grad)]

a = slopes(theirs, lambda hidden: torch.nn.functional.cross_entropy(hidden @ head.T, targets))
b = slopes(ours, lambda hidden: fused.AnswerLoss.apply(hidden, head, targets))
print(json.dumps([[(p - q).abs().max().item(), p.abs().max().item()] for p, q in zip(a, b, strict=True)]))
"""


def test_the_gradients_are_those_of_peft_and_pytorch(in_workshop):
    found = json.loads(in_workshop(SCRIPT))
    assert len(found) == 4 and all(apart < 1e-5 * size for apart, size in found)
