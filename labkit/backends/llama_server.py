"""llama.cpp's own server, inside this process (xllamacpp): weights, slots, and a loopback address.

Knows settings and routes only; prompts, constraints and chunks are llama_cpp_server.py's.

Its slots share one cache of `context_length` tokens, so that a single client may use all of it; 16 clients
have it together. Their next tokens are computed in one batch: continuous batching.
"""
from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import BackendUnavailable, BadRequest, ModelFileError

MIN_CONTEXT = 256
KEPT_MIB = 256  # of RAM for the caches of conversations that lost their slot; llama.cpp would take 8 GB
NUMA = ("distribute", "isolate", "numactl")


@dataclass(frozen=True)
class Settings:
    """What a server is started with. Connections with equal settings share one."""

    path: Path
    context_length: int
    threads: int
    slots: int
    batch_tokens: int
    gpu_layers: int
    memory_lock: bool
    numa: str | None
    port: int
    metrics: bool
    ngram_draft: int


class Server:
    """A running server; stopped when nobody holds it any more, and with the process."""

    def __init__(self, settings: Settings, model: str):
        from labkit.models.llama import library
        library()  # sets how OpenMP's threads wait, before xllamacpp brings them
        import xllamacpp
        self.settings = settings
        try:
            running = [xllamacpp.Server(_parameters(xllamacpp, settings, model))]
        except RuntimeError as error:  # it gives no reason
            raise _why(settings) from error
        self.url: str = running[0].listening_address
        weakref.finalize(self, running.clear)  # dropping it stops it


def _parameters(xllamacpp, settings: Settings, model: str):
    params, modes = xllamacpp.CommonParams(), xllamacpp.llama_load_mode
    params.model.path, params.model_alias = str(settings.path), {model}
    params.n_ctx, params.n_parallel, params.kv_unified = settings.context_length, settings.slots, True
    params.n_batch = params.n_ubatch = settings.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.n_gpu_layers, params.port, params.endpoint_metrics = settings.gpu_layers, settings.port, settings.metrics
    params.n_threads_http = settings.slots + 4  # each stream holds one
    if settings.memory_lock:
        params.load_mode = modes.LLAMA_LOAD_MODE_MMAP_MLOCK
    if settings.numa:
        params.numa = getattr(xllamacpp.ggml_numa_strategy, f"GGML_NUMA_STRATEGY_{settings.numa.upper()}")
    if settings.ngram_draft:
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = 3, settings.ngram_draft
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED  # skips others' cells
    params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cache_ram_mib = KEPT_MIB
    params.prefill_assistant = False  # a conversation that ends with an answer asks for another one
    params.fit_params = params.ui = params.warmup = False
    params.verbosity = 0  # it writes to the process's stderr, past Python
    return params


def _why(settings: Settings) -> Exception:
    import socket
    with socket.socket() as probe:
        if settings.port and probe.connect_ex(("127.0.0.1", settings.port)) == 0:
            return BackendUnavailable(f"Port {settings.port} is taken. Give another one, or port=0 for a free one.")
    return ModelFileError(f"{settings.path.name} could not be loaded with these settings. Is the file whole? "
                          "If it is, there may be too little memory: connect with less context_length=.")


_servers: weakref.WeakValueDictionary[Settings, Server] = weakref.WeakValueDictionary()
_registry = threading.Lock()


def shared_server(settings: Settings, model: str) -> Server:
    """The one server of this process for these settings; it runs as long as somebody holds it."""
    with _registry:
        if not (server := _servers.get(settings)):
            server = _servers[settings] = Server(settings, model)
        return server


def context_for(path: Path, wanted: int | None) -> int:
    """Tokens of context: what is wanted, but no more than the model was trained on."""
    from labkit.models.budget import shape_of
    if not path.is_file():
        raise ModelFileError(f"There is no model file {path}. Name a .gguf file, or none for the default.")
    trained = shape_of(path).context
    length = min(wanted or trained, trained)
    if length < MIN_CONTEXT:
        raise BadRequest(f"context_length={wanted}: use at least {MIN_CONTEXT} tokens.")
    return length
