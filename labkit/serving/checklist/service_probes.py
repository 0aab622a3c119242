"""Probes of a service: who may ask, what is refused, what is measured, what happens when something dies.

Each takes a Subject, returns what it saw, and raises Failed or DoesNotApply.
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import httpx

from labkit.backends import supervisor
from labkit.errors import LabkitError
from labkit.intervals import p95
from labkit.serving import backup, deploy, processes
from labkit.serving.app import listen
from labkit.serving.checklist.report import DoesNotApply, Failed
from labkit.serving.checklist.subject import MEMORY_MB, NAME, RATE, STORY, Subject, text_of
from labkit.table import size


def expect(holds: object, evidence: str) -> str:
    """The evidence, if it holds."""
    if not holds:
        raise Failed(evidence)
    return evidence


def refusal(answer: httpx.Response, status: int, again: bool = False) -> str:
    """The evidence that a request was refused in this way, where `again` with the time to ask again."""
    told = f"{answer.status_code}: {answer.text[:120]}"
    if again:
        told = f"{told}; retry-after: {answer.headers.get('retry-after', 'missing')}"
    return expect(answer.status_code == status and (not again or answer.headers.get("retry-after", "").isdigit()), told)


# -- who may ask ---------------------------------------------------------------------------


def key(subject: Subject) -> str:
    answers = [subject.ask(headers=headers).status_code
               for headers in ({}, {"authorization": "Bearer wrong"}, subject.headers)]
    return expect(answers == [401, 401, 200], "without, with a wrong and with the right key: "
                  + ", ".join(map(str, answers)))


def loopback(subject: Subject) -> str:
    open_ = sorted({f"{c.laddr.ip}:{c.laddr.port}" for c in _connections(subject) if c.status == "LISTEN"})
    return expect(open_ and all(ip_address(at.rpartition(":")[0]).is_loopback for at in open_),
                  f"listens at {', '.join(open_)}")


def open_address(subject: Subject) -> str:
    command = [sys.executable, "-P", "-m", "labkit", "serve", "--host", "0.0.0.0", "--port", "0", "--api-key", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return expect(done.returncode == 2, f"exit code {done.returncode}: {done.stderr.strip()[:120]}")


def logs(subject: Subject) -> str:
    subject.ask(f"My name is {subject.marker}.")
    files = [path for path in subject.folder.rglob("*") if path.is_file() and path.name != "lock"]
    told = b"".join(path.read_bytes() for path in files)
    found = [what for what, word in (("the key", subject.key), ("a prompt", subject.marker)) if word.encode() in told]
    return expect(not found, f"{len(files)} files, {size(len(told))}: " + (", ".join(found) or "no key, no prompt"))


def offline(subject: Subject) -> str:
    subject.ask()
    away = {c.raddr.ip for c in _connections(subject) if c.raddr and not ip_address(c.raddr.ip).is_loopback}
    return expect(not away, f"connections to other machines: {', '.join(away) or 'none'}")


def _connections(subject: Subject) -> list:
    import psutil
    found = []
    for server in subject.servers:
        for process in supervisor.tree(server.pid, server.started):
            try:
                found += process.net_connections("inet")
            except psutil.AccessDenied as error:
                raise DoesNotApply("this system shows a process's connections to its administrator only") from error
    return found


# -- what is refused -----------------------------------------------------------------------


def too_large(subject: Subject) -> str:
    return refusal(subject.ask("x" * (9 * 2**20)), 413)


def senseless(subject: Subject) -> str:
    return refusal(subject.ask(5), 400)


def unknown_model(subject: Subject) -> str:
    return refusal(subject.ask(model="no-such-model"), 404)


def rate(subject: Subject) -> str:
    url = subject.replicas[0]
    answers = [subject.ask(url=url, user="greedy", max_tokens=1) for _ in range(RATE + 1)]
    if any(answer.status_code != 200 for answer in answers[:RATE]):
        raise Failed(f"refused too early: {[answer.status_code for answer in answers]}")
    return f"request {len(answers)} of one client: {refusal(answers[-1], 429, again=True)}"


def queue(subject: Subject) -> str:
    url = subject.replicas[0]
    answers = subject.ask_at_once(14, words=STORY, url=url, max_tokens=40)
    seen = Counter(getattr(answer, "status_code", "no answer") for answer in answers)
    full = next((answer for answer in answers if getattr(answer, "status_code", 0) == 503), None)
    told = f"14 at once: {', '.join(f'{n} × {status}' for status, n in sorted(seen.items(), key=str))}"
    if full is None or set(seen) != {200, 503}:
        raise Failed(told)
    return f"{told}; {refusal(full, 503, again=True)}"


def deadline(subject: Subject) -> str:
    began = time.monotonic()
    answer = subject.ask(STORY, headers={**subject.headers, "x-deadline-s": "0.3"}, max_tokens=2000)
    return f"asked for 0.3 s, after {time.monotonic() - began:.1f} s {refusal(answer, 504)}"


# -- what is seen --------------------------------------------------------------------------


def health(subject: Subject) -> str:
    answer = subject.get("/health", headers={})
    return expect(answer.status_code == 200 and answer.json() == {"status": "ok"},
                  f"{answer.status_code} without a key: {answer.text}")


def metrics(subject: Subject) -> str:
    def counted() -> float:
        lines = subject.get("/metrics", url).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("labkit_requests_total"))
    url = subject.replicas[0]
    before = counted()
    subject.ask(url=url)
    return expect(counted() == before + 1, f"labkit_requests_total went from {before:g} to {counted():g}")


def history(subject: Subject) -> str:
    from labkit.serving.history import recorded
    file, end = subject.folder / "replica-1" / "history.sqlite", time.monotonic() + 25
    while True:
        with_figures = recorded(file)
        names = with_figures.names()
        with_figures.close()
        if names or time.monotonic() > end:
            return expect(names, f"{len(names)} figures in {file.name}: {', '.join(names[:4])}, …")
        time.sleep(0.5)


def memory(subject: Subject) -> str:
    taken = [processes.memory(server) for server in subject.servers[1:]]
    return expect(all(n < MEMORY_MB * 1e6 for n in taken),
                  f"replicas take {', '.join(map(size, taken))}; {size(MEMORY_MB * 1e6)} are allowed to each")


# -- what it does --------------------------------------------------------------------------


def answers(subject: Subject) -> str:
    return expect("Paris" in (said := text_of(subject.ask(max_tokens=12))), said)


def pieces(subject: Subject) -> str:
    answer = subject.ask(stream=True, max_tokens=12)
    events = answer.text.count("data: ")
    return expect(events > 3 and answer.text.rstrip().endswith("[DONE]"), f"{events} events, then [DONE]")


def load(subject: Subject) -> str:
    began = time.monotonic()
    answers = subject.ask_at_once(8, max_tokens=12)
    took = time.monotonic() - began
    right = sum("Paris" in text_of(answer) for answer in answers if isinstance(answer, httpx.Response))
    seconds = [answer.elapsed.total_seconds() for answer in answers if isinstance(answer, httpx.Response)]
    return expect(right == 8, f"8 clients at once: {right} right answers in {took:.1f} s, "
                              f"95 % within {p95(seconds):.1f} s")


def tools(subject: Subject) -> str:
    order = {"type": "function", "function": {
        "name": "order_status", "description": "Status of an order.",
        "parameters": {"type": "object", "required": ["order_id"],
                       "properties": {"order_id": {"type": "string", "description": "like A-1042"}}}}}
    answer = subject.ask("Where is my order A-1042?", tools=[order], max_tokens=60)
    answer.raise_for_status()
    calls = answer.json()["choices"][0]["message"].get("tool_calls") or []
    told = ", ".join(f"{call['function']['name']}({call['function']['arguments']})" for call in calls)
    return expect("A-1042" in told, told or "no call")


def framework(subject: Subject) -> str:
    import asyncio

    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient
    model = subject.get("/v1/models").json()["data"][0]["id"]
    client = OpenAIChatCompletionClient(model=model, base_url=f"{subject.url}/v1", api_key=subject.key)

    async def asked() -> str:
        return (await Agent(client, "Answer in a few words.").run(
            "What is the capital of France?", options={"max_tokens": 12, "temperature": 0.0})).text
    return expect("Paris" in (said := asyncio.run(asked())), f"Agent Framework's agent says: {said}")


def leaving(subject: Subject) -> str:
    def running() -> float:
        lines = subject.get("/metrics", url).text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("labkit_requests_running "))
    url = subject.replicas[0]
    body = {"messages": [{"role": "user", "content": STORY}], "max_tokens": 2000, "stream": True, "user": "leaver"}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=subject.headers, timeout=60) as answer:
        events = answer.iter_raw()  # kept: httpx closes the answer with its iterator
        next(events)
        during = running()
    end = time.monotonic() + 5
    while running() and time.monotonic() < end:
        time.sleep(0.05)
    return expect(during == 1 and not running(), f"answers in the making: {during:g}, and {running():g} after it left")


# -- what it survives ----------------------------------------------------------------------


def failover(subject: Subject) -> str:
    import psutil
    victim = subject.servers[1]
    threading.Timer(0.2, psutil.Process(victim.pid).kill).start()
    answers = subject.ask_at_once(4, max_tokens=12) + subject.ask_at_once(4, max_tokens=12)
    seen = Counter(getattr(answer, "status_code", "no answer") for answer in answers)
    return expect(seen == {200: 8}, f"one of two replicas killed under 8 requests: "
                                    f"{', '.join(f'{n} × {status}' for status, n in seen.items())}")


def restart(subject: Subject) -> str:
    """After failover: what died there runs again."""
    began = time.monotonic()
    while not deploy.status(NAME).ok and time.monotonic() < began + 60:
        time.sleep(0.2)
    told = deploy.status(NAME)
    return expect(told.ok, f"all {len(told.processes)} processes are ready "
                           f"{time.monotonic() - began:.0f} s after the probe before" if told.ok else str(told))


def backed_up(subject: Subject) -> str:
    with tempfile.TemporaryDirectory() as folder:
        made = deploy.backup(NAME, Path(folder) / "backups")
        again = backup.restore(made.folder, Path(folder) / "restored")
        rows = sum(entry.rows for entry in again.files)
        return expect(rows, f"{len(again.files)} databases with {rows} rows copied while in use, checked, restored")


def graceful(subject: Subject) -> str:
    """The last: it ends the deployment."""
    servers, began = subject.servers, time.monotonic()
    deploy.down(NAME, lambda line: None)
    took = time.monotonic() - began
    left = [server.name for server in servers if server.alive]
    try:
        for server in servers:
            listen("127.0.0.1", server.port).close()
    except LabkitError as error:
        raise Failed(f"a port is still taken: {error}") from error
    return expect(not left, f"{len(servers)} processes ended within {took:.1f} s, ports free, left over: "
                            f"{', '.join(left) or 'none'}")
