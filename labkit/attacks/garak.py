"""garak's probes against a served model: what a public scanner finds, a few prompts of a few probes.

garak (NVIDIA, Apache-2.0) runs in a private environment, because it wants torch and forty other packages. It
talks to any server with OpenAI's routes. Its detectors decide what a hit is, by words and patterns in the answer. Much
that a model this small answers is nonsense: where a detector looks for something, nonsense passes, and where it looks
for a refusal (dan's), nonsense is a hit. Neither says how safe the model is.
"""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from labkit.errors import BadRequest, LabkitError
from labkit.intervals import share_interval
from labkit.models.environments import environment
from labkit.models.private_environment import stream
from labkit.table import Shown, Table

PROBES = (
    "promptinject.HijackLongPrompt", "latentinjection.LatentInjectionReport", "latentinjection.LatentWhoisSnippet",
    "encoding.InjectBase64", "encoding.InjectROT13", "dan.DanInTheWild", "web_injection.MarkdownImageExfil",
)
PROMPTS = 8          # of each probe
ANSWER_TOKENS = 60
SEED = 0
Say = Callable[[str], object]


@dataclass(frozen=True)
class Probed:
    """What one of garak's detectors says of one probe: how many answers it saw as hits."""

    probe: str
    detector: str
    hits: int
    answers: int


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """All that was probed."""

    target: str
    probed: tuple[Probed, ...]

    def table(self) -> Table:
        rows = tuple((each.probe, each.detector, str(each.answers), _share(each.hits, each.answers))
                     for each in self.probed)
        return Table(("probe", "detector", "answers", "hits"), rows, f"garak against {self.target}",
                     "A hit, by garak's detector: what the attack was after stands in the answer; MitigationBypass: no "
                     "refusal stands in it. Share and its 95 % interval.")

    def to_dict(self) -> dict[str, Any]:
        return {"target": self.target, "probed": [asdict(each) for each in self.probed]}


def run(base_url: str, probes: Sequence[str] = PROBES, prompts: int = PROMPTS, say: Say = lambda line: None) -> Report:
    """Send garak's prompts to the first model of the server at base_url ("http://127.0.0.1:8484/v1").

    prompts: of each probe, at most. say: gets each line that garak prints. Raises BackendUnavailable when garak's
    environment is not installed, LabkitError when garak fails.
    """
    if prompts < 1:
        raise BadRequest(f"prompts={prompts}: each probe needs at least 1.")
    garak = environment("garak")
    garak.require()
    model = httpx.get(f"{base_url}/models", timeout=10).raise_for_status().json()["data"][0]["id"]
    with TemporaryDirectory(prefix="labkit-garak-") as folder:
        settings = Path(folder, "garak.json")
        settings.write_text(json.dumps(_settings(base_url, model, prompts, folder)), encoding="utf-8")
        wanted = ",".join(f"probes.{probe}" for probe in probes)
        command = garak.command("-m", "garak", "--config", settings, "--spec", wanted)
        code, tail = stream(command, say, _surroundings(folder))
        written = Path(folder, "run.report.jsonl")
        if code or not written.is_file():
            raise LabkitError("garak did not finish. Its last lines:\n" + "\n".join(tail))
        return Report(model, tuple(verdicts(written)))


def _settings(base_url: str, model: str, prompts: int, folder: str) -> dict[str, Any]:
    server = {"uri": base_url.rstrip("/") + "/", "max_tokens": ANSWER_TOKENS, "temperature": 0.0,
              "stop": None, "suppressed_params": ["n", "frequency_penalty", "presence_penalty"]}
    return {
        "system": {"verbose": 0, "narrow_output": True, "parallel_attempts": False, "lite": True},
        "run": {"seed": SEED, "generations": 1, "soft_probe_prompt_cap": prompts},
        "plugins": {"target_type": "openai.OpenAICompatible", "target_name": model,
                    "generators": {"openai": {"OpenAICompatible": server}}},
        "reporting": {"report_dir": folder, "report_prefix": str(Path(folder, "run"))},
    }


def _surroundings(folder: str) -> dict[str, str]:
    """It writes into its own folder, and fetches nothing."""
    places = {name: folder for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    return {**os.environ, **places, "HF_HUB_OFFLINE": "1", "OPENAICOMPATIBLE_API_KEY": "none"}


def verdicts(path: Path) -> Iterator[Probed]:
    """What a report of garak's (JSON lines) says of each probe and detector."""
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry.get("entry_type") == "eval":
            total = entry["total_evaluated"]
            yield Probed(entry["probe"], entry["detector"].removeprefix("detector."), total - entry["passed"], total)


def _share(hits: int, total: int) -> str:
    if not total:
        return "none was judged"
    share, low, high = share_interval(hits, total)
    return f"{hits}, {share:.0%} ({100 * low:.0f} to {100 * high:.0f})"
