"""Other servers' figures in labkit's terms: the Prometheus text of vLLM, of llama.cpp's server and of labkit serve.

Each names and counts its own way; NAMES says what is what. A figure that a server does not tell is missing, with the
reason. Names of vLLM's: its documentation, "Production metrics" (engine V1); of llama.cpp's: tools/server.
"""
from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.errors import BackendUnavailable, BadRequest
from labkit.table import Shown, Table, size

UNITS = {  # every figure there can be; times and rates are of the time between two looks, else since the server's start
    "requests_running": "answers in the making",
    "requests_waiting": "requests in the queue",
    "requests": "complete answers",
    "input_tokens": "of prompts, those from a cache included",
    "output_tokens": "written",
    "ttft_mean_s": "seconds until the first token",
    "ttft_p95_s": "seconds until the first token",
    "latency_mean_s": "seconds until the end of an answer",
    "latency_p95_s": "seconds until the end of an answer",
    "queue_mean_s": "seconds until a request's turn",
    "answer_tokens_per_s": "tokens a second within one answer, not of all together",
    "kv_cache_share": "of the KV cache that is in use, 0 to 1",
    "rss_bytes": "resident memory of the server's process",
    "requests_per_s": "complete answers a second",
    "tokens_per_s": "tokens written a second, by all answers together",
}
NOW = {"requests_running", "requests_waiting", "kv_cache_share", "rss_bytes"}


@dataclass(frozen=True)
class Names:
    """What a server calls its figures. "name{label=value}" for one of several. A mean is a sum over a count."""

    values: Mapping[str, tuple[str, ...]]      # added up
    histograms: Mapping[str, str]              # "ttft", "latency", "queue" -> its name
    speed: tuple[str, str] | None = None       # of one answer: tokens, seconds
    note: str = ""


NAMES = {
    "labkit": Names(
        {"requests_running": ("labkit_requests_running",), "requests_waiting": ("labkit_requests_waiting",),
         "requests": ("labkit_requests_total{outcome=ok}",), "rss_bytes": ("process_resident_memory_bytes",),
         "input_tokens": ("gen_ai_server_token_usage_total{gen_ai_token_type=input}",),
         "output_tokens": ("gen_ai_server_token_usage_total{gen_ai_token_type=output}",)},
        {"ttft": "gen_ai_server_time_to_first_token_seconds", "latency": "gen_ai_server_request_duration_seconds",
         "queue": "labkit_queue_seconds"}, note="The first token is counted from a request's turn."),
    "vllm": Names(
        {"requests_running": ("vllm:num_requests_running",), "requests_waiting": ("vllm:num_requests_waiting",),
         "requests": ("vllm:request_success_total",), "input_tokens": ("vllm:prompt_tokens_total",),
         "output_tokens": ("vllm:generation_tokens_total",), "kv_cache_share": ("vllm:kv_cache_usage_perc",),
         "rss_bytes": ("process_resident_memory_bytes",)},
        {"ttft": "vllm:time_to_first_token_seconds", "latency": "vllm:e2e_request_latency_seconds",
         "queue": "vllm:request_queue_time_seconds"},
        ("vllm:inter_token_latency_seconds_count", "vllm:inter_token_latency_seconds_sum"),
        "The first token is counted from a request's arrival. Complete are also answers that were stopped."),
    "llama.cpp": Names(
        {"requests_running": ("llamacpp:requests_processing",), "requests_waiting": ("llamacpp:requests_deferred",),
         "input_tokens": ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
         "output_tokens": ("llamacpp:tokens_predicted_total",)},
        {}, ("llamacpp:tokens_predicted_total", "llamacpp:tokens_predicted_seconds_total"),
        "Tokens are counted when their answer is complete."),
}
_MARKS = {"vllm:": "vllm", "llamacpp:": "llama.cpp", "labkit_": "labkit"}


@dataclass(frozen=True, repr=False)
class Scraped(Shown):
    """server: whose. at_s: time.monotonic(). span_s: seconds since the other look, None for since the start.

    figures: name -> value, of those in UNITS; missing: name -> why there is none; found["ttft_mean_s"] is a figure's
    value or None.
    """

    server: str
    at_s: float
    figures: Mapping[str, float]
    missing: Mapping[str, str]
    span_s: float | None = None
    _raw: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float | None:
        return self.figures.get(name) if name in UNITS else {}[name]

    def since(self, before: Scraped) -> Scraped:
        """What happened between two looks at the same server: counts, means and rates of that time alone."""
        if (self.server, True) != (before.server, self.at_s > before.at_s):
            raise BadRequest("Give an earlier look at the same server.")
        # A counter that went back is of a server that was started again: what it says now is all since then.
        raw = {key: value - before._raw.get(key, 0.0) if value >= before._raw.get(key, 0.0) else value
               for key, value in self._raw.items()}
        now = {name: value for name, value in self.figures.items() if name in NOW}
        return _scraped(self.server, raw, self.at_s, self.at_s - before.at_s, now)

    def table(self) -> Table:
        rows = [(name, _text(name, self.figures[name]) if name in self.figures else "–", self.missing.get(name, about))
                for name, about in UNITS.items()]
        of = "since its start" if self.span_s is None else f"in {self.span_s:.1f} s"
        return Table(("figure", "value", "what"), tuple(rows), f"{self.server}, {of}", NAMES[self.server].note)


def scrape(url: str, api_key: str | None = None) -> Scraped:
    """Look at a server. url: like http://127.0.0.1:8484. Raises BackendUnavailable, or BadRequest for a stranger."""
    import httpx
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    address = f"{url.rstrip('/').removesuffix('/v1')}/metrics"
    try:
        answer = httpx.get(address, headers=headers, timeout=10)
    except httpx.HTTPError as error:
        raise BackendUnavailable(f"Nothing answers at {address} ({type(error).__name__}). Is the server running?"
                                 ) from error
    if answer.is_error:
        raise BackendUnavailable(f"{address} answers {answer.status_code}. llama.cpp's server needs --metrics; labkit "
                                 "serve wants its key where it has one.")
    return parse(answer.text)


def parse(text: str) -> Scraped:
    """The figures in a server's Prometheus text. Raises BadRequest for another one's, or no such text."""
    from prometheus_client.parser import text_string_to_metric_families
    raw: dict[tuple[str, str], float] = defaultdict(float)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                _count(raw, sample.name, sample.labels, sample.value)
    except ValueError as error:
        raise BadRequest(f"This is no Prometheus text: {error}") from error
    server = next((name for mark, name in _MARKS.items() if any(key.startswith(mark) for key, _ in raw)), None)
    if server is None:
        raise BadRequest("These are the metrics of another program: labkit reads vLLM's, llama.cpp's and its own.")
    return _scraped(server, raw, time.monotonic(), None, {})


def _count(raw: dict[tuple[str, str], float], name: str, labels: Mapping[str, str], value: float) -> None:
    """Add a sample up: over a server's engines and models, as a whole and by each of its labels."""
    bound = labels.get("le", "")
    if name == "vllm:kv_cache_usage_perc":  # of several engines, the fullest
        raw[name, ""] = max(raw[name, ""], value)
        return
    raw[name, bound] += value
    for label, word in labels.items():
        raw[f"{name}{{{label}={word}}}", bound] += value


def _scraped(server: str, raw: Mapping[tuple[str, str], float], at_s: float, span_s: float | None,
             now: Mapping[str, float]) -> Scraped:
    names, figures = NAMES[server], dict(now)
    for name, parts in names.values.items():
        if name not in now and all((part, "") in raw for part in parts):
            figures[name] = sum(raw[part, ""] for part in parts)
    for name, title in names.histograms.items():
        figures |= _of_histogram(name, title, raw)
    if names.speed and raw.get((names.speed[1], ""), 0) > 0:
        figures["answer_tokens_per_s"] = raw[names.speed[0], ""] / raw[names.speed[1], ""]
    if span_s:
        figures |= {rate: figures[total] / span_s for rate, total in (
            ("requests_per_s", "requests"), ("tokens_per_s", "output_tokens")) if total in figures}
    missing = {name: _why(name, names, span_s) for name in UNITS if name not in figures}
    return Scraped(server, at_s, figures, missing, span_s, raw)


def _why(name: str, names: Names, span_s: float | None) -> str:
    if name in ("requests_per_s", "tokens_per_s") and span_s is None:
        return "a rate needs two looks: later.since(earlier)"
    told = name in names.values or name.split("_")[0] in names.histograms or (name[:6] == "answer" and names.speed)
    return "no request has ended" if told and name not in NOW else "this server does not tell"


def _of_histogram(name: str, title: str, raw: Mapping[tuple[str, str], float]) -> dict[str, float]:
    count = raw.get((f"{title}_count", ""), 0)
    if count <= 0:
        return {}
    buckets = sorted((float(bound), n) for (key, bound), n in raw.items() if key == f"{title}_bucket")
    found = {f"{name}_mean_s": raw[f"{title}_sum", ""] / count, f"{name}_p95_s": quantile(buckets, 0.95)}
    return {figure: value for figure, value in found.items() if figure in UNITS}


def quantile(buckets: list[tuple[float, float]], share: float) -> float:
    """As PromQL's histogram_quantile: values are taken as spread evenly within their bucket. buckets: (upper bound,
    how many up to it). In the last one, without a bound, it is at least the bound before."""
    wanted, low, below = share * buckets[-1][1], 0.0, 0.0
    for bound, upto in buckets:
        if upto >= wanted:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / max(upto - below, 1e-12)
        low, below = bound, upto
    return low


def _text(name: str, value: float) -> str:
    return size(value) if name.endswith("_bytes") else f"{value:.4g}"
