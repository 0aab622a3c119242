"""Train a LoRA adapter: `python train_lora.py SETTINGS.json`. Runs inside the workshop environment, offline.

Knows nothing of tools. A line of the data is a beginning with several turns that follow it, each independently of
the others, as [question, answer]: the beginning (the tools) is read once and serves all of them, by an attention
mask that lets a turn see the beginning and itself.

Prints JSON lines of progress. A checkpoint holds everything a killed run needs to go on as if it had not been.
"""
from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from pathlib import Path

import export_lora
import fused
import shared_prefix
import torch
from torch.nn import functional as F

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def say(**facts) -> None:
    print(json.dumps(facts), flush=True)


def main(settings_file: str) -> None:
    s = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    torch.manual_seed(s["seed"])
    torch.set_num_threads(s["threads"])
    read = reader(s["model"])
    train, valid = read(s["train"]), read(s["valid"])
    run = Run(s, adapted(s))
    if s["start"]:
        run.begin_with(s["start"])
    run.restore()
    run.train(train, valid)
    run.export()


def reader(model: str):
    """A function that reads a file of lines {"first": text, "turns": [[question, answer]]} as token ids."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    def read(file: str) -> list[dict]:
        with open(file, encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        return [{"first": ids(line["first"]), "turns": [(ids(a), ids(b)) for a, b in line["turns"]]} for line in found]
    return read


def adapted(s: dict):
    """The model with an untrained adapter on every linear layer but the output."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = AutoModelForCausalLM.from_pretrained(s["model"], dtype=precision(), attn_implementation=attention())
    config = LoraConfig(r=s["rank"], lora_alpha=s["alpha"], target_modules=list(TARGETS))
    model = get_peft_model(base, config, autocast_adapter_dtype=False).to(device)
    fused.fuse(model)
    for layer in model.base_model.model.model.layers[:-s["layers"] if s["layers"] else 0]:
        layer.requires_grad_(False)  # nothing flows back into them
    return model


def precision() -> torch.dtype:
    """bfloat16 where it is computed in. Many laptops only emulate it, far slower than float32."""
    can = torch.cpu.get_capabilities()
    native = torch.cuda.is_available() or can.get("avx512_bf16") or can.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def attention() -> str:
    """The attention of shared_prefix, by the name transformers knows it by."""
    from transformers import AttentionInterface
    AttentionInterface.register("blocks", shared_prefix.attend)
    return "blocks"


class Run:
    """One training run: model, optimiser, where it stands, and what was best so far."""

    def __init__(self, s: dict, model):
        self.s, self.model = s, model
        self.used = {n: p for n, p in model.named_parameters() if "lora_" in n}  # as the model computes
        self.weights = {n: p.detach().float() for n, p in self.used.items()}  # what the optimiser moves
        self.optimiser = torch.optim.AdamW(self.weights.values(), lr=s["rate"], weight_decay=0.0, betas=(0.9, 0.99))
        self.step, self.seconds, self.best, self.curve = 0, 0.0, math.inf, []
        self.folder = Path(s["folder"])

    @property
    def device(self):
        return next(iter(self.weights.values())).device

    def train(self, train: list[dict], valid: list[dict]) -> None:
        batches = [batch for n in range(self.s["passes"])
                   for batch in in_batches(train, self.s["batch_tokens"], self.s["seed"] + n)]
        steps, began, losses = min(self.s["steps"], len(batches)), time.monotonic() - self.seconds, []
        if self.s["start"] and not self.curve:
            self._stale(valid)  # what it goes on from may stay the best
        while (progress := max(self.step / steps, self.seconds / self.s["seconds"])) < 1:
            losses.append(self._learn(batches[self.step], progress))
            if not math.isfinite(losses[-1]):  # nothing of it is kept: the last checkpoint and the best stay
                say(event="nan", step=self.step)
                break
            self.step, self.seconds = self.step + 1, time.monotonic() - began
            if self.step % self.s["report"] == 0:
                say(event="step", step=self.step, of=steps, loss=sum(losses) / len(losses), seconds=self.seconds,
                    progress=max(self.step / steps, self.seconds / self.s["seconds"]))
                losses = []
            if self.step % self.s["check"] == 0 and self._stale(valid):
                say(event="early stop", step=self.step)
                break
        else:
            self._stale(valid)
        say(event="done", step=self.step, best=self.best, seconds=self.seconds)

    def _learn(self, batch: list[dict], progress: float) -> float:
        """One step; its loss, not a number when nothing could be learned from it."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.s["rate"] * min(1.0, (self.step + 1) / self.s["warmup"]) * cosine(progress)
        loss = self._loss(batch)
        if not torch.isfinite(loss):
            return math.nan
        loss.backward()
        for name, used in self.used.items():
            if used.requires_grad:
                self.weights[name].grad, used.grad = used.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimiser.step()
        self._use()
        return loss.item()

    @torch.no_grad()
    def _use(self) -> None:
        for name, used in self.used.items():
            used.copy_(self.weights[name])

    def _loss(self, batch: list[dict]):
        """Mean negative log-likelihood (nats) of the answers' tokens."""
        return fused.AnswerLoss.apply(*self._read(batch))

    def _read(self, batch: list[dict]):
        """(hidden states that guess the answers' tokens, the output layer's weights, those tokens)."""
        row = shared_prefix.row(batch).to(self.device)
        body = self.model.base_model.model
        hidden = body.model(input_ids=row.ids, position_ids=row.positions, blocks=row.blocks, use_cache=False,
                            attention_mask=torch.zeros(1, 1, 1, 1))[0]  # the blocks have their own
        return hidden[0][row.inputs], body.lm_head.weight, row.targets

    def _stale(self, valid: list[dict]) -> bool:
        """Look at the validation groups, keep the best adapter so far and a checkpoint; whether to stop."""
        if not self.curve or self.curve[-1][0] != self.step:
            loss, right = self._judge(valid)
            self.curve.append((self.step, loss, right))
            say(event="valid", step=self.step, loss=loss, right=right, seconds=self.seconds)
            if loss < self.best:
                self.best = loss
                self._write("best.pt", {n: p.detach().cpu() for n, p in self.weights.items()})
            self.save()
        recent = [loss for _, loss, _ in self.curve[-self.s["patience"]:]]
        return len(self.curve) > self.s["patience"] and min(recent) > self.best

    @torch.no_grad()
    def _judge(self, groups: list[dict]) -> tuple[float, float]:
        """(mean loss in nats a token, share of answers that greedy decoding would write as they are)."""
        self.model.eval()
        losses, right = [], []
        for start in range(0, len(groups), 4):
            batch = groups[start:start + 4]
            hidden, head, targets = self._read(batch)
            logits = hidden @ head.T
            losses.append(F.cross_entropy(logits.float(), targets).item())
            lengths = [len(answer) for group in batch for _, answer in group["turns"]]
            right += [part.all().item() for part in (logits.argmax(-1) == targets).split(lengths)]
        return sum(losses) / len(losses), sum(right) / len(right)

    # -- on disk ---------------------------------------------------------------------------

    @property
    def _heads(self) -> tuple[int, int]:
        return self.model.config.num_attention_heads, self.model.config.num_key_value_heads

    def export(self) -> None:
        """Write the best adapter so far as best.gguf; nothing when there is none."""
        best = self.folder / "best.pt"
        if best.is_file():
            weights = torch.load(best, weights_only=True)
            export_lora.write(weights, self.folder / "best.gguf", self.s["alpha"], *self._heads, self.s["about"])

    def save(self) -> None:
        self._write("checkpoint.pt", {
            "weights": {n: p.detach().cpu() for n, p in self.weights.items()}, "optimiser": self.optimiser.state_dict(),
            "step": self.step, "seconds": self.seconds, "best": self.best, "curve": self.curve,
            "random": torch.get_rng_state()})

    def begin_with(self, adapter: str) -> None:
        """Take over the weights of an adapter in a GGUF of the same rank."""
        found = export_lora.read(adapter, *self._heads)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(torch.from_numpy(found[export_lora.KEY.search(name).groups()]))
        self._use()

    def restore(self) -> None:
        file = self.folder / "checkpoint.pt"
        if not file.is_file():
            return
        kept = torch.load(file, weights_only=True)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(kept["weights"][name])
        self._use()
        self.optimiser.load_state_dict(kept["optimiser"])
        torch.set_rng_state(kept["random"])
        self.step, self.seconds, self.best, self.curve = (kept[k] for k in ("step", "seconds", "best", "curve"))
        say(event="resumed", step=self.step)

    def _write(self, name: str, content: dict) -> None:
        part = self.folder / f"{name}.part"
        torch.save(content, part)
        os.replace(part, self.folder / name)


def cosine(progress: float) -> float:
    """From 1 down to 0.05 as progress goes from 0 to 1."""
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def length(group: dict) -> int:
    return len(group["first"]) + sum(len(ask) + len(answer) for ask, answer in group["turns"])


def in_batches(groups: list[dict], batch_tokens: int, seed: int) -> list[list[dict]]:
    """Groups of like length together, up to `batch_tokens` with their padding, in a shuffled order."""
    rng, batches = random.Random(seed), []
    for start in range(0, len(groups), 256):
        batch: list[dict] = []
        for group in sorted(groups[start:start + 256], key=length):
            if batch and sum(map(length, batch)) + length(group) > batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(group)
        batches.append(batch)
    rng.shuffle(batches)
    return batches


if __name__ == "__main__":
    main(sys.argv[1])
