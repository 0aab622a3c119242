"""The lists for Foundry Local, Ollama and vLLM: each runtime behind the service, with a key, a queue and a gateway."""
from __future__ import annotations

from labkit.serving.checklist import runtime_probes as runtime
from labkit.serving.checklist import service_probes as probe
from labkit.serving.checklist.report import Line

MEMORY = Line("service", "Limits are set, and what is taken is below them", probe.memory)
HEALTH = Line("service", "Health is answered", probe.health)
METRICS = Line("service", "Figures are collected", probe.metrics)
REACH = Line("security", "Only this machine reaches it", probe.loopback)
KEY = Line("security", "A key is asked, and kept out of logs and files", probe.key)
SECRETS = Line("security", "No key and no prompt is written down", probe.logs)
RECORD = Line("security", "What agents ask leaves a record", probe.history)
RATE = Line("security", "A client has a rate", probe.rate)
LOAD = Line("performance", "It holds under the load that is expected", probe.load)
WARM = Line("performance", "What was read once is not read again", runtime.warm)
FRAMEWORK = Line("integration", "An agent of Agent Framework works with it", probe.framework)
OFFLINE = Line("integration", "It works without a network", probe.offline)
AGENT = Line("integration", "A tool is called from a request's words", probe.tools)
DEATH = Line("integration", "A replica that dies costs no answer", probe.failover)
RESTART = Line("integration", "It is started again", probe.restart)
BACKUP = Line("reliability", "A backup can be restored", probe.backed_up)
STOP = Line("reliability", "It ends in good order and leaves nothing", probe.graceful)

LISTS: dict[str, tuple[Line, ...]] = {
    "foundry-local": (
        Line("service", "Each kind of work has a model", runtime.aliases),
        MEMORY, HEALTH, METRICS, REACH, KEY, SECRETS, RECORD, RATE, LOAD,
        Line("performance", "The level of quantisation is known", runtime.form),
        WARM, FRAMEWORK, OFFLINE, AGENT, DEATH, RESTART, STOP,
    ),
    "ollama": (
        Line("service", "Its server answers", runtime.ollama_server),
        Line("service", "Each kind of work has a model", runtime.aliases),
        Line("service", "The system starts it", runtime.ollama_managed),
        Line("service", "A model loads and answers", probe.answers),
        Line("models", "What was fetched is there, with its checksum", runtime.ollama_models),
        Line("models", "A model can be replaced and put back", runtime.ollama_rotation),
        Line("models", "A model in use stays in memory", runtime.ollama_kept),
        Line("models", "There is room for models", runtime.disk),
        LOAD, Line("security", "Only this machine reaches it", runtime.ollama_loopback),
        Line("security", "The firewall says so too", runtime.firewall),
        KEY, SECRETS, RATE, RECORD, WARM, MEMORY, FRAMEWORK, OFFLINE, DEATH, AGENT, STOP,
    ),
    "vllm": (
        Line("hardware", "A model is split over the GPUs", runtime.vllm_parallel),
        Line("hardware", "Quantised weights, and the share of GPU memory", runtime.vllm_gpu),
        Line("hardware", "Batch sizes and lengths are ones that the server takes", runtime.vllm_flags),
        Line("performance", "The prefix cache is on, and used", runtime.vllm_prefix),
        Line("performance", "Chunked prefill and guessing are flags that the server takes", runtime.vllm_flags),
        Line("performance", "Answers are made together", runtime.vllm_batches),
        HEALTH, METRICS, Line("service", "The server's own counters are read", runtime.vllm_metrics),
        Line("service", "Requests wait in a bounded queue", probe.queue),
        REACH, Line("security", "The firewall says so too", runtime.firewall), KEY, SECRETS, RATE, RECORD,
        FRAMEWORK, LOAD, DEATH, RESTART, BACKUP, STOP,
    ),
}


def not_here(backend: str) -> str | None:
    """Why a runtime cannot be looked at on this machine; None when it can."""
    from labkit.backends.registry import backend_class
    why = backend_class(backend).why_not()
    return f"{backend} is not usable here: {why}" if why else None
