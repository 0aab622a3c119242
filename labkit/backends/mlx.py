"""MLX: Apple's own framework, through mlx_lm's server in an environment of its own. On Linux, on the CPU."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.backends import managed, probe
from labkit.backends.base import Capabilities, Request
from labkit.backends.guidance import byte_matcher
from labkit.backends.hf_prompt import HFPrompt
from labkit.backends.openai_errors import plain_errors
from labkit.backends.prompted import Prompted
from labkit.errors import BadRequest
from labkit.models import workshop
from labkit.models.environments import environment
from labkit.tools.constraint import Constraint
from labkit.tools.trained import FORMAT

ALTERNATIVES = 11  # the most that the server tells
_COLDEST, _NARROWEST = 1e-3, 1e-4  # below these the server's arithmetic overflows; the likeliest token it is


class Mlx(Prompted):
    """A model in MLX's form. Connections to the same model share one server; it ends with this process.

    model: a folder; None for the embedded SmolLM2-135M-Instruct. With base_url, a server of your own: the
        model is then one that it lists, and what a constraint cannot enforce is asked for in words.
    adapter: a .gguf file that `labkit specialise` made, or "course" for the course's own, merged into the embedded
        model by `labkit models build mlx --adapter`. The merged weights answer everything, so chat changes, too:
        they may write [] (no call) where the plain model writes words.
    timeout_s: longest wait (s) for the next token: a processor reads a prompt about as slowly as it writes.
    """

    name = "mlx"
    how_to_start = "Start it with: labkit backend start mlx"

    def __init__(self, model: str | Path | None = None, *, base_url: str | None = None, timeout_s: float = 600.0,
                 adapter: str | Path | None = None):
        if base_url and adapter:
            raise BadRequest("Give base_url= or adapter=, not both: a server of yours has the weights that it has.")
        if base_url:
            super().__init__(model, base_url=base_url, timeout_s=timeout_s)
            return
        folder, self._trained = workshop.runnable("mlx", model, adapter, FORMAT)
        server = self.server(folder)
        # Once more: now and then mlx-lm's server closes a connection without having answered.
        super().__init__(base_url=server.base_url, timeout_s=timeout_s, retries=1)
        self.model_id, self.model = self.model, server.model + (" specialised" if self._trained else "")
        self.prompt = HFPrompt(folder)

    @classmethod
    def server(cls, model: str | Path | None = None, *, port: int | None = None, owner: str = "me",
               on_line: managed.OnLine = managed.say) -> managed.Server:
        """The server of a model, started if it does not run."""
        folder, here = _folder(model), environment("mlx")
        nothing = folder.parent / "hub"  # the server looks through a download cache, and fails without one
        nothing.mkdir(exist_ok=True)
        start = Path(__file__).with_name("mlx_start.py")
        command = [str(part) for part in (here.require(), "-I", "-X", "utf8", "-u", start, "--model", folder,
                                          "--host", "127.0.0.1", "--port", "{port}")]
        return managed.run_server("mlx", command, model=HFPrompt(folder).name, port=port, owner=owner, on_line=on_line,
                                  health_url="http://127.0.0.1:{port}/health",
                                  env={"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(nothing)})

    @classmethod
    def why_not(cls) -> str | None:
        return cls.missing() or environment("mlx").why_not() or workshop.form_of("mlx").why_not()

    def context_tokens(self) -> int | None:
        return self.prompt.context_tokens if self.prompt else super().context_tokens()

    @cached_property
    def capabilities(self) -> Capabilities:
        if self.prompt is None:
            return super().capabilities
        kinds = frozenset({"json_schema"} if self._obeys_from_the_start() else ())
        return Capabilities(kinds, continues=True, prefix_cache=True, context_tokens=self.context_tokens(),
                            trained=self._trained)

    def _obeys_from_the_start(self) -> bool:
        """The probe of schemas, with two tokens instead of a whole answer: each takes its time here."""
        constraint = Constraint("json_schema", json.dumps(probe.SCHEMA))
        asked = Request([{"role": "user", "content": "Hello"}], constraint, max_tokens=2)
        text = "".join(chunk.text for chunk in self.generate(asked)).encode()
        return bool(text) and byte_matcher(constraint).validate_tokens(list(text)) == len(text)

    def next_tokens(self, request: Request) -> list[tuple[str, float]]:
        """The likeliest next tokens with their log-probabilities (nats), likeliest first: at most 11."""
        if self.prompt is None:
            return []
        asked = {"model": self.model_id, "prompt": self._given(request), "max_tokens": 1,
                 "top_logprobs": ALTERNATIVES, "seed": 0}
        with plain_errors(self):
            answer = self.client.post("/completions", body=asked, cast_to=object)
            found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        read = ((self.prompt.read(entry["id"]), entry["logprob"]) for entry in found)
        return sorted(((text, value) for text, value in read if text), key=lambda pair: -pair[1])

    def _given(self, request: Request) -> str:
        return self.prompt.text(request.messages, request.prefix)

    def _sampling(self, request: Request) -> dict[str, Any]:
        cold = request.temperature < _COLDEST
        given = super()._sampling(replace(request, seed=None if cold else request.seed,
                                          temperature=0.0 if cold else request.temperature,
                                          top_p=max(request.top_p, _NARROWEST)))
        # A seeded request is served alone, and only then does one that is broken off stay in the prompt
        # cache: what goes on from a beginning will be broken off, and asked again.
        return {"seed": 0, **given} if cold and request.prefix else given

    def _constrained(self, constraint: Constraint | None) -> Mapping[str, Any]:
        return {"extra_body": super()._constrained(constraint)}


def _folder(model: str | Path | None) -> Path:
    return Path(model) if model else workshop.require("mlx")
