"""The checklists: which lines, in which order, and the one function that runs them."""
from __future__ import annotations

from collections.abc import Callable

from labkit.errors import BadRequest
from labkit.serving.checklist import service_probes as probe
from labkit.serving.checklist.report import NOT, Checklist, Finding, Line
from labkit.serving.checklist.runtime_lists import LISTS, not_here
from labkit.serving.checklist.subject import Subject

SERVICE = (
    Line("access", "A key is asked of every client", probe.key),
    Line("access", "Only this machine can reach it", probe.loopback),
    Line("access", "An address that others reach is refused without a key", probe.open_address),
    Line("refusals", "A request that is too large: 413", probe.too_large),
    Line("refusals", "A request that makes no sense: 400", probe.senseless),
    Line("refusals", "A model that is not there: 404", probe.unknown_model),
    Line("refusals", "A client beyond its rate: 429 with Retry-After", probe.rate),
    Line("refusals", "A full queue: 503 with Retry-After, and nobody else harmed", probe.queue),
    Line("refusals", "A deadline is kept: 504", probe.deadline),
    Line("work", "It answers", probe.answers),
    Line("work", "Answers come in pieces", probe.pieces),
    Line("work", "Tools are called with valid arguments", probe.tools),
    Line("work", "Eight clients at once get the answers of one", probe.load),
    Line("work", "An agent of Agent Framework works with it", probe.framework),
    Line("work", "A client that leaves frees its place", probe.leaving),
    Line("sight", "Health is open and tells nothing else", probe.health),
    Line("sight", "Metrics count", probe.metrics),
    Line("sight", "What was measured is kept", probe.history),
    Line("sight", "Memory is within its limit", probe.memory),
    Line("sight", "No key and no prompt in logs and state", probe.logs),
    Line("sight", "Nothing leaves the machine", probe.offline),
    Line("survival", "A replica that dies costs no answer", probe.failover),
    Line("survival", "It is started again", probe.restart),
    Line("survival", "A backup made in use can be restored", probe.backed_up),
    Line("survival", "It ends in good order", probe.graceful),
)


def run(name: str = "service", on_finding: Callable[[Finding], object] | None = None,
        say: Callable[[str], object] = lambda line: None) -> Checklist:
    """Run a checklist: "service", "foundry-local", "ollama" or "vllm". Starts a service of its own, and ends it.

    on_finding: told each line's finding as it comes. Raises BadRequest for another name, LabkitError when the service
    does not start.
    """
    if name == "service":
        backend, lines = "llama.cpp", SERVICE
    elif name in LISTS:
        backend, lines = name, LISTS[name]
    else:
        raise BadRequest(f"There is no checklist {name!r}. There are: service, {', '.join(LISTS)}.")
    if why := not_here(backend):
        return Checklist(name, tuple(_told(Finding(line.area, line.text, NOT, why), on_finding) for line in lines))
    with Subject(backend, say) as subject:
        return Checklist(name, tuple(_told(line.run(subject), on_finding) for line in lines))


def _told(finding: Finding, on_finding: Callable[[Finding], object] | None) -> Finding:
    if on_finding:
        on_finding(finding)
    return finding
