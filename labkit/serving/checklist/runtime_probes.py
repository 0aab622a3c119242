"""Probes of the runtime below a service: its models, its storage, its server's flags and counters."""
from __future__ import annotations

import shutil
import subprocess
import time
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from labkit.serving.checklist.report import DoesNotApply, Failed
from labkit.serving.checklist.service_probes import expect
from labkit.serving.checklist.subject import Subject, text_of
from labkit.table import size

WORDS = "The shop opens at nine and closes at six. " * 20


# -- of any runtime ------------------------------------------------------------------------


def aliases(subject: Subject) -> str:
    """Every role has a model in this runtime's form."""
    from labkit.models import catalogue
    roles = {entry.alias: entry.roles for entry in catalogue.entries() if entry.variant(subject.backend)}
    covered = sorted({role for names in roles.values() for role in names})
    wanted = {"routing", "conversation", "reasoning", "code"}
    return expect(wanted <= set(covered), f"{len(roles)} models for {subject.backend}: {', '.join(covered)}")


def form(subject: Subject) -> str:
    """Which model is served, and how it is quantised: in its name, or told by Ollama's route."""
    told = subject.get("/api/tags").json()["models"][0]
    details = told["details"]
    level = details.get("quantization_level") or details.get("format")
    return expect(level, f"{told['name']}: {level}, {size(told['size']) if told.get('size') else 'size not told'}")


def warm(subject: Subject) -> str:
    """The same long beginning again: what was read is not read anew."""
    url, words = subject.replicas[0], WORDS + f"{time.time()}"
    cold, again = (subject.ask(f"{words} When does it open?", url=url) for _ in range(2))
    cached = again.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    first, second = cold.elapsed.total_seconds(), again.elapsed.total_seconds()
    return expect(text_of(cold) is not None and (cached or second < first),
                  f"first {first:.2f} s, again {second:.2f} s, {cached} tokens not read anew")


def disk(subject: Subject) -> str:
    from labkit.models.cache import home
    free = shutil.disk_usage(home()).free
    return expect(free > 1e9, f"{size(free)} free where models are kept")


# -- Ollama --------------------------------------------------------------------------------


def _ollama():
    import ollama

    from labkit.backends.ollama_address import address
    return ollama.Client(address(None))


def ollama_server(subject: Subject) -> str:
    from labkit.backends.ollama_address import address
    told = httpx.get(f"{address(None)}/api/version", timeout=5)
    return expect(told.status_code == 200, f"{address(None)}: {told.text[:60]}")


def ollama_loopback(subject: Subject) -> str:
    from labkit.backends.ollama_address import address
    host = urlsplit(address(None)).hostname
    return expect(host == "localhost" or ip_address(host).is_loopback, f"asked at {host}")


def ollama_managed(subject: Subject) -> str:
    if not shutil.which("systemctl"):
        raise DoesNotApply("no systemd here: see what starts programs on this system")
    told = subprocess.run(["systemctl", "is-enabled", "ollama"], capture_output=True, text=True, timeout=10)
    return expect(told.returncode == 0, f"systemctl is-enabled ollama: {told.stdout.strip() or told.stderr.strip()}")


def ollama_models(subject: Subject) -> str:
    there = _ollama().list().models
    told = [f"{entry.model} ({size(entry.size or 0)}, {(entry.digest or '?')[:12]})" for entry in there]
    return expect(there and all(entry.digest for entry in there), ", ".join(told) or "none")


def ollama_rotation(subject: Subject) -> str:
    """A model gets a second name, and loses it: what an update and a step back need."""
    client = _ollama()
    name, copy = client.list().models[0].model, "labkit-checklist-copy"
    client.copy(name, copy)
    had = any(entry.model.startswith(copy) for entry in client.list().models)
    client.delete(copy)
    left = any(entry.model.startswith(copy) for entry in client.list().models)
    return expect(had and not left, f"{name} had a second name and has lost it")


def ollama_kept(subject: Subject) -> str:
    from labkit.backends.ollama_models import loaded
    subject.ask()
    return expect(names := loaded(_ollama()), f"in memory after an answer: {', '.join(names) or 'none'}")


# -- vLLM ----------------------------------------------------------------------------------


def _gpus() -> int:
    if not shutil.which("nvidia-smi"):
        return 0
    told = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20)
    return len(told.stdout.splitlines()) if told.returncode == 0 else 0


@lru_cache(maxsize=1)
def _parsed() -> dict[str, str | None]:
    """Template -> what the installed server's own parser says against it; None for nothing."""
    from labkit.backends import vllm_templates as templates
    names = list(templates.TEMPLATES)
    return dict(zip(names, templates.validate_all([templates.arguments("model", name) for name in names]), strict=True))


def vllm_flags(subject: Subject) -> str:
    """Batch sizes, memory, chunked prefill, guesses: every template is taken by the server's own parser."""
    against = {name: said for name, said in _parsed().items() if said}
    return expect(not against, f"{len(_parsed())} templates parsed by the installed server; refused: "
                               f"{against or 'none'}")


def vllm_parallel(subject: Subject) -> str:
    if (cards := _gpus()) < 2:
        raise DoesNotApply(f"{cards} NVIDIA GPUs: a model is split over two or more")
    return vllm_flags(subject)


def vllm_gpu(subject: Subject) -> str:
    if not _gpus():
        raise DoesNotApply("no NVIDIA GPU: on a processor there is no GPU memory to share out, and AWQ and GPTQ have "
                           "no kernels")
    return vllm_flags(subject)


def _counters(subject: Subject) -> dict[str, float]:
    from labkit.backends import managed
    server = next(managed.running("vllm"), None)
    if server is None:
        raise Failed("no server of vLLM runs below the service")
    lines = httpx.get(f"{server.base_url.removesuffix('/v1')}/metrics", timeout=10, trust_env=False).text.splitlines()
    return {line.split("{")[0].split()[0]: float(line.split()[-1]) for line in lines if line.startswith("vllm:")}


def vllm_prefix(subject: Subject) -> str:
    before = _counters(subject).get("vllm:prefix_cache_hits_total", 0.0)
    for _ in range(2):
        subject.ask(f"{WORDS} When does it open?")
    hits = _counters(subject).get("vllm:prefix_cache_hits_total", 0.0) - before
    return expect(hits > 0, f"{hits:.0f} tokens of a repeated prompt were not read anew")


def vllm_metrics(subject: Subject) -> str:
    found = _counters(subject)
    return expect("vllm:kv_cache_usage_perc" in found, f"{len(found)} counters of the server itself")


def vllm_batches(subject: Subject) -> str:
    """Eight at once take less than eight times one."""
    began = time.monotonic()
    text_of(subject.ask(max_tokens=12))
    one, began = time.monotonic() - began, time.monotonic()
    done = [text_of(answer) for answer in subject.ask_at_once(8, max_tokens=12)]
    eight = time.monotonic() - began
    return expect(len(done) == 8 and eight < 8 * one, f"one: {one:.2f} s, eight at once: {eight:.2f} s")


def firewall(subject: Subject) -> str:
    raise DoesNotApply("a firewall's rules are for this machine's administrator to read; that nothing listens for "
                       "other machines is the line on who reaches it")
