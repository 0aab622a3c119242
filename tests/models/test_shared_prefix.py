"""Several turns read in one pass are what each is when it is read alone: compared on a small model of the same kind."""
from __future__ import annotations

import json

SCRIPT = """
import json, random
import torch, shared_prefix
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM
AttentionInterface.register("blocks", shared_prefix.attend)
torch.manual_seed(0)
rng = random.Random(0)
model = LlamaForCausalLM(LlamaConfig(hidden_size=96, intermediate_size=128, num_hidden_layers=2, vocab_size=100,
                                     num_attention_heads=6, num_key_value_heads=2)).eval()
words = lambda low, high: [rng.randrange(1, 100) for _ in range(rng.randint(low, high))]
batch = [{"first": words(5, 40), "turns": [(words(1, 9), words(1, 12)) for _ in range(n)]} for n in (1, 12, 5)]
alone, targets = [], []
for group in batch:
    for ask, answer in group["turns"]:
        begin = len(group["first"]) + len(ask) - 1
        alone.append(model(torch.tensor([group["first"] + ask + answer])).logits[0, begin:begin + len(answer)])
        targets += answer
alone = torch.cat(alone)
model.set_attn_implementation("blocks")
row = shared_prefix.row(batch)
hidden = model.model(input_ids=row.ids, position_ids=row.positions, blocks=row.blocks, use_cache=False,
                     attention_mask=torch.zeros(1, 1, 1, 1))[0]
together = model.lm_head(hidden[0][row.inputs])
together.sum().backward()
print(json.dumps({"apart": (together - alone).abs().max().item(), "spread": alone.std().item(),
                  "targets": row.targets.tolist() == targets, "tokens": row.ids.shape[1],
                  "finite": all(p.grad.isfinite().all().item() for p in model.parameters())}))
"""


def test_together_is_as_alone(in_workshop):
    found = json.loads(in_workshop(SCRIPT))
    assert found["apart"] < 1e-5 < found["spread"] and found["targets"] and found["finite"]
    assert found["tokens"] % 64 == 0
