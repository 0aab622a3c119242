"""llama.cpp in this process (llama-cpp-python): the embedded model's home."""
from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from labkit.backends import guidance, llama_adapter, llama_embed
from labkit.backends.base import CLOSED, Backend, Capabilities, Chunk, Request
from labkit.backends.options import check_whole
from labkit.backends.reply import Usage
from labkit.backends.sampling import Sampler
from labkit.errors import BackendUnavailable, BadRequest, ContextFull
from labkit.models import adapter_file
from labkit.tools.trained import FORMAT

_owners = itertools.count(1)


class LlamaCpp(Backend):
    """A GGUF model in this process. Connections with the same settings share weights and cache.

    model: a .gguf file; None for the embedded SmolLM2-135M-Instruct.
    context_length: tokens for prompt and answer; None for what the model was trained on.
    threads: None for the physical cores this process may use.
    adapter: what was trained to call tools: "course" for the one in data/adapters, which is for the embedded model
        only; a .gguf file that `labkit specialise` made; None for the model as it is. Chat never uses it.
        A model with one merged (`labkit models build gguf --adapter`) needs none; there chat is changed, too.
    """

    name = "llama.cpp"
    requires = {"llama_cpp": "llama-cpp-python"}

    def __init__(self, model: str | Path | None = None, *, context_length: int | None = None,
                 threads: int | None = None, gpu_layers: int = -1, adapter: str | Path | None = llama_adapter.COURSE):
        from labkit.models.embedded import default_model, display_name
        from labkit.models.hardware import usable_cores
        check_whole(1, context_length=context_length, threads=threads)
        path = Path(model) if model else default_model()
        self.model = display_name(path)
        self._settings = (path, context_length or 0, threads or usable_cores(), gpu_layers)
        self._adapter = llama_adapter.chosen(adapter, embedded=model is None)
        self.unload()
        self._plain()  # a wrong file is said at once; the course's own adapter waits for the first tool
        if adapter != llama_adapter.COURSE and self._adapter:
            self._with_adapter()

    def unload(self) -> None:
        """Free the memory; the next request loads what it needs again. Answers in the making keep theirs to their end.

        With an adapter there are two engines, and each has a cache of its own, some 200 MB.
        """
        from labkit.backends.llama_engine import shared_engine
        self._plain = cache(partial(shared_engine, *self._settings))
        self._with_adapter = cache(partial(shared_engine, *self._settings, self._adapter))

    @property
    def engine(self):
        """The engine below, for measurements."""
        self.check_open()
        return self._plain()

    def check_open(self) -> None:
        if self._plain is None:
            raise BackendUnavailable(CLOSED)

    @property
    def trained_engine(self):
        """The engine with the adapter for tool calls."""
        return self.engine and self._with_adapter()

    @cached_property
    def trained_on(self) -> dict[str, str]:
        return adapter_file.trained_on(self._adapter) if self._adapter else {}

    def in_level(self, level: str) -> LlamaCpp:
        """The same model in another level of quantisation, made if it is not there. This one stays as it is.

        Raises as `labkit.models.quantise.made` does, BadRequest for the level that it is in.
        """
        from labkit.models import embedded, quantise
        quantise.check(level)
        if self.engine.metadata("general.file_type") == str(getattr(self.engine.c, f"LLAMA_FTYPE_MOSTLY_{level}")):
            raise BadRequest(f"{self.model} is in {level} already.")
        path, context_length, threads, gpu_layers = self._settings
        own = embedded.display_name(path).split()[0] == embedded.NAME
        other = LlamaCpp(quantise.made(level, None if own else path), adapter=None, threads=threads,
                         context_length=context_length or None, gpu_layers=gpu_layers)
        other._adapter = self._adapter
        other.unload()
        return other

    def close(self) -> None:
        self._plain = self._with_adapter = None

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(guidance.kinds(self.engine), scores=True, prefix_cache=True, continues=True,
                            context_tokens=self.engine.context_length, embeddings=llama_embed.works(self.engine),
                            trained=self._adapter is not None or self.engine.metadata("labkit.format") == FORMAT)

    def count_tokens(self, text: str) -> int:
        return len(self.engine.tokenize(text))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return llama_embed.embed(self.engine, texts)

    def generate(self, request: Request) -> Iterator[Chunk]:
        tokens = self.prompt_tokens(request.messages) + self.engine.tokenize(request.prefix)
        limit = self.engine.context_length
        if len(tokens) >= limit:
            raise ContextFull(len(tokens), limit)
        return _Generation(self, request, tokens).run()

    def loglikelihood(self, pairs: Sequence[tuple[list[dict[str, Any]], str]]) -> list[float]:
        return [self.engine.score(self.prompt_tokens(messages), self.engine.tokenize(text))
                for messages, text in pairs]

    def prompt_tokens(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """The model's chat template over the messages, as token ids.

        Contents are tokenized apart from the template, so a user who types <|im_end|> has written
        ten characters, not ended the turn.
        """
        marked = {f"\ue000{i}\ue001": message for i, message in enumerate(messages)}
        rendered = self._render([{**message, "content": mark} for mark, message in marked.items()])
        tokens: list[int] = []
        for mark, message in marked.items():
            before, _, rendered = rendered.partition(mark)
            tokens += self.engine.tokenize(before, special=True) + self.engine.tokenize(message["content"])
        return tokens + self.engine.tokenize(rendered, special=True)

    def _render(self, messages: list[dict[str, Any]]) -> str:
        from jinja2 import TemplateError
        template = self._template
        try:
            text = template(messages=messages).prompt
        except (TemplateError, ValueError) as error:  # a template's own rules, e.g. that roles must alternate
            raise BadRequest(f"The chat template of {self.model} refuses these messages: {error}") from error
        if missing := next((m["role"] for m in messages if m["content"] not in text), None):
            raise BadRequest(f"The chat template of {self.model} has no place for a {missing!r} message.")
        return text

    @cached_property
    def _template(self):
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter
        template = self.engine.metadata("tokenizer.chat_template")
        if not template:
            raise BadRequest(f"{self.model} has no chat template: it is a base model, not made for chat.")
        ids = (self.engine.metadata(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "bos"))
        eos, bos = (self.engine.piece(int(i), special=True).decode("utf-8", "replace") if i else ""
                    for i in ids)
        return Jinja2ChatFormatter(template, eos_token=eos, bos_token=bos)


class _Generation:
    """One answer in the making: its tokens, its sampler, and the constraint's state."""

    def __init__(self, backend: LlamaCpp, request: Request, prompt: list[int]):
        self.request, self.backend = request, backend
        # Held to the end of the answer when the backend is unloaded, of the step in progress when it is closed.
        self.engine = backend.trained_engine if request.trained else backend.engine
        self.tokens, self.n_prompt, self.owner = prompt, len(prompt), next(_owners)
        self.matcher = request.constraint and guidance.matcher(self.engine, request.constraint)
        self.sample = Sampler(request.temperature, request.top_p, request.seed)
        self.logprob = self.nothing = 0.0 if request.trained else None

    def run(self) -> Iterator[Chunk]:
        try:
            yield from self._prefill()
            yield from self._decode()
        finally:
            self.engine.release(self.owner)

    def _prefill(self) -> Iterator[Chunk]:
        """Read a long prompt in steps; a stop, or another thread's turn, comes in between."""
        if self.request.temperature and self.request.seed is not None:
            # A cached prefix was summed in other portions and differs in the last digits. That never
            # matters to the likeliest token; it can tip a draw, and a seed promises the same draw.
            self.engine.start_afresh(self.owner)
        self.cached, more = self.engine.prefill(self.tokens, self.owner)
        while more:
            yield Chunk(tokens=0, usage=self._usage())
            _, more = self._open().prefill(self.tokens, self.owner)

    def _decode(self) -> Iterator[Chunk]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        new, reason = self._forced(), self._finished()
        while reason is None:
            token, _ = self._open().evaluate(self.tokens, self.owner, self._pick)
            if self.engine.ends(token):
                reason = "stop"
                break
            new += [token, *self._accept(token)]
            if (reason := self._finished()) is None:
                yield Chunk(self._text(decoder, new), len(new), usage=self._usage(), logprob=self.logprob)
                new, self.logprob = [], self.nothing
        yield Chunk(self._text(decoder, new) + decoder.decode(b"", True), len(new), reason, self._usage(),
                    logprob=self.logprob)

    def _open(self):
        self.backend.check_open()
        return self.engine

    def _usage(self) -> Usage:
        return Usage(self.n_prompt, len(self.tokens) - self.n_prompt, self.cached)

    def _text(self, decoder, tokens: list[int]) -> str:
        return decoder.decode(b"".join(map(self.engine.piece, tokens)))

    def _pick(self, logits: np.ndarray) -> int:
        if self.matcher:
            guidance.mask(self.matcher, logits)
        if not self.request.trained:
            return self.sample(logits)
        total = np.logaddexp.reduce(logits)
        token = self.sample(logits)
        self.logprob += float(logits[token] - total)
        return token

    def _accept(self, token: int) -> list[int]:
        """Take a sampled token, and with it the text that the constraint now forces."""
        self.tokens.append(token)
        if not self.matcher:
            return []
        self.matcher.consume_token(token)
        return self._forced()

    def _forced(self) -> list[int]:
        # Evaluated together with the next step: forced text costs prefill, not decode steps.
        forced = self.matcher.compute_ff_tokens() if self.matcher else []
        if forced:
            self.matcher.consume_tokens(forced)
            self.tokens += forced
        return forced

    def _finished(self) -> str | None:
        if self.matcher and self.matcher.is_stopped():
            return "stop"
        full = len(self.tokens) > self.engine.context_length
        return "length" if full or len(self.tokens) - self.n_prompt >= self.request.max_tokens else None
