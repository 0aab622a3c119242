"""An answer on its way: text as it comes, a `Reply` at the end."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from labkit.backends.base import Chunk
from labkit.backends.reply import Reply, Timing, Usage
from labkit.errors import LabkitError


class Stream:
    """Iterate for the text; `.reply` is the whole answer afterwards; `.stop()` ends it early.

    Ending early, by stop(), break, an exception or Ctrl-C, leaves the model ready for the next call.
    """

    def __init__(self, chunks: Iterator[Chunk], finish: Callable[[Reply], Reply], *,
                 stops: Sequence[str] = (), model: str = "",
                 shows_text: Callable[[], bool] = lambda: True, observers: Sequence[Callable] = ()):
        self._started = time.perf_counter()
        self._chunks, self._finish, self._stops = chunks, finish, stops
        self._model, self._shows_text, self._observers = model, shows_text, observers
        self._text, self._shown, self._tokens = "", 0, 0
        self._arrivals: list[tuple[float, int]] = []
        self._usage: Usage | None = None
        self._reason: str | None = None
        self._stopped = False
        self._error: Exception | None = None
        self._reply: Reply | None = None
        self._pieces = self._read()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def _read(self) -> Iterator[str]:
        try:
            while not (self._reason or self._stopped) and (chunk := next(self._chunks, None)):
                self._take(chunk)
                if piece := self._ready():
                    yield piece
            if piece := self._ready(everything=True) or self._question():
                yield piece
        except Exception as error:
            self._error = error
            raise
        finally:
            self._close()

    def stop(self) -> None:
        """End the answer after the step in progress: a token, or a batch of a long prompt.

        Safe from any thread.
        """
        self._stopped = True

    @property
    def reply(self) -> Reply:
        """The whole answer; reads the rest of the stream first if some is left.

        A failed stream fails again.
        """
        if self._reply is None:
            for _ in self:
                pass
            if self._error:
                raise self._error
            self._reply = self._finish(self._raw_reply())
        return self._reply

    @property
    def so_far(self) -> Reply:
        """What has come by now, as it is: a value may be half written, a call is still text."""
        return self._raw_reply()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_) -> None:
        self._pieces.close()
        self._close()

    def _take(self, chunk: Chunk) -> None:
        if chunk.tokens:
            self._arrivals.append((time.perf_counter() - self._started, chunk.tokens))
        self._text += chunk.text
        self._tokens += chunk.tokens
        self._usage, self._reason = chunk.usage or self._usage, chunk.finish_reason
        found = [at for s in self._stops
                 if self._shows_text() and (at := self._text.find(s, self._shown)) >= 0]
        if found:
            self._text, self._reason = self._text[:min(found)], "stop"
        for observer in tuple(self._observers):
            observer(chunk)

    def _ready(self, everything: bool = False) -> str:
        """What may be shown: all but an ending that could be the start of a stop string."""
        if not self._shows_text():
            return ""
        hold = 0 if everything or self._reason else max(
            (n for s in self._stops for n in range(1, len(s)) if self._text.endswith(s[:n])), default=0)
        piece = self._text[self._shown:len(self._text) - hold]
        self._shown += len(piece)
        return piece

    def _question(self) -> str:
        """What a turn with tools says in words after all: it asks for a value that the request does not give."""
        if self._shows_text() or self._reason in (None, "cancelled"):
            return ""
        try:
            self._reply = self._finish(self._raw_reply())
        except LabkitError:  # whoever asks for the reply hears of it
            return ""
        return self._reply.text

    def _close(self) -> None:
        if self._reason is None:
            self._reason = "cancelled"
        close = getattr(self._chunks, "close", None)
        if close:
            close()

    def _raw_reply(self) -> Reply:
        total = self._arrivals[-1][0] if self._arrivals else time.perf_counter() - self._started
        usage = self._usage or Usage(completion_tokens=self._tokens)
        return Reply(self._text, usage=usage, timing=Timing(tuple(self._arrivals), total),
                     finish_reason=self._reason or "cancelled", model=self._model)
