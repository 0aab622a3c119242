"""A chat: the answer streams, can be stopped, and the kernel stays free while it runs.

Knows of a model only `stream(messages, …)`, which yields text and has `.stop()` and `.reply`.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ipywidgets import Button, HBox, Text, VBox

from labkit.errors import BadRequest, ContextFull, LabkitError
from labkit.widgets.conversation import STYLE, Turn, footer, page
from labkit.widgets.render import clean, escape
from labkit.widgets.shown import ShownAnywhere, html_widget

REDRAW_S = 0.08  # a redraw per token would send more HTML than the eye can follow
ENTER_S = 0.5    # see _on_enter
BUSY = "The model is still answering. Wait for it, or press Stop."
NOTHING = "Nothing has been asked yet."
HOW = "Run this cell in JupyterLab to chat."


class ChatBox(ShownAnywhere, VBox):
    """Chat with `slm` in a notebook: type, press Enter, watch the answer, Stop it when you like.

    instructions: the system message; max_tokens: limit per answer; any other option (temperature,
    seed, …) goes to `slm.stream`. `ask("…")` does from code what typing does.
    """

    _thread: threading.Thread | None = None

    def __init__(self, slm: Any, instructions: str | None = None, max_tokens: int = 256, **options: Any):
        self._slm, self._options = slm, {"max_tokens": max_tokens, **options}
        self._instructions = instructions
        self._name = clean(getattr(slm, "model", None) or "a model")
        self._guard = threading.Lock()
        self._stream: Any = None
        self._stopping = threading.Event()
        self._busy = self._entered = False
        self._history: list[dict[str, str]] = []
        self._turns: list[Turn] = []
        super().__init__(children=[html_widget(STYLE + self._head()), self._build_log(),
                                   self._build_row(), self._build_notice()])
        self.add_class("lk-chat")
        self._set_busy(False)

    def _build_log(self) -> VBox:
        self._log = VBox(layout={"flex": "0 0 auto", "margin": "0", "overflow": "visible"})
        self._empty = html_widget(f'<div class="lk-empty">{NOTHING}</div>')
        # Upside down, so that the browser itself keeps the newest line in view while it grows.
        return VBox([self._log, self._empty], layout={"flex_flow": "column-reverse nowrap", "margin": "0",
                                                      "max_height": "380px", "overflow": "hidden auto"})

    def _build_row(self) -> HBox:
        self.entry = Text(description="Message", placeholder="Ask something, then press Enter",
                          continuous_update=False, style={"description_width": "initial"},
                          layout={"flex": "1 1 200px", "width": "auto", "min_width": "140px"})
        self.entry.on_msg(self._on_enter)
        self.entry.observe(self._on_typed, "value")
        self.send_button = self._button("Send", "paper-plane", "Send the message (Enter)", self._on_send)
        self.stop_button = self._button("Stop", "stop", "Stop the answer that is being written", self.stop)
        self.clear_button = self._button("Clear", "trash", "Forget the conversation", self.clear)
        self.send_button.button_style = "primary"
        return HBox([self.entry, self.send_button, self.stop_button, self.clear_button],
                    layout={"margin": "0", "padding": "8px 10px", "flex_flow": "row wrap"})

    def _build_notice(self) -> Any:
        self._notice = html_widget()
        return self._notice

    @staticmethod
    def _button(name: str, icon: str, tooltip: str, action: Callable[[], None]) -> Button:
        button = Button(description=name, icon=icon, tooltip=tooltip, layout={"width": "84px"})
        button.on_click(lambda _: action())
        return button

    # What a learner does -------------------------------------------------------------------

    def ask(self, text: str, wait: bool = True) -> None:
        """Send `text` as if it had been typed; with `wait`, return when the answer is complete.

        Raises BadRequest for an empty text, or while another answer is being written.
        """
        if not text.strip():
            raise BadRequest("The message is empty. Write a question.")
        if not self._start(text):
            raise BadRequest(BUSY)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return when no answer is being written. Interrupting the kernel stops the answer."""
        try:
            while (thread := self._thread) is not None and thread.is_alive():
                thread.join(0.1)  # in short steps, or Windows could not interrupt it
        except KeyboardInterrupt:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the answer that is being written. What was written stays in the conversation."""
        self._stopping.set()
        if (stream := self._stream) is not None:
            stream.stop()

    def clear(self) -> None:
        """Stop, forget the conversation, and begin again with the same instructions."""
        self.stop()
        old, self._log.children = self._log.children, ()
        self._history, self._turns = [], []  # an answer that is just ending writes into the old ones
        self._empty.layout.display = None
        self._say("")
        for view in old:
            view.close()

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation as OpenAI messages, instructions first."""
        system = [{"role": "system", "content": self._instructions}] if self._instructions else []
        return [*system, *self._history]

    @property
    def busy(self) -> bool:
        """Whether an answer is being written."""
        return self._busy

    def close(self) -> None:
        """Stop the answer and take the widget off the page. The model stays open."""
        if self._thread is not None:
            self.stop()
        super().close()

    # Sending -------------------------------------------------------------------------------

    def _on_send(self) -> None:
        text = self.entry.value
        if not text.strip():
            self._say("Write a message first.")
        elif self._start(text):
            self.entry.value = ""
        else:
            self._say(BUSY)

    def _on_enter(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        # The browser reports the key first and the text after it, unless the text had been
        # reported before; so wait a moment for the text.
        if content.get("event") == "submit":
            self._entered = True
            timer = threading.Timer(ENTER_S, self._on_typed)
            timer.daemon = True
            timer.start()

    def _on_typed(self, _: Any = None) -> None:
        with self._guard:
            entered, self._entered = self._entered, False
        if entered:
            self._on_send()

    def _start(self, text: str) -> bool:
        """Begin an answer to `text` in the background; False while another one is being written."""
        with self._guard:
            if self._busy:
                return False
            self._set_busy(True)
        self._stopping.clear()
        self._say("")
        self._add(Turn("you", "You", text))
        turn = Turn("model", "Model", open=True, footer="reading the prompt …")
        self._thread = threading.Thread(target=self._answer, args=(text, turn, self._add(turn)),
                                        name="labkit-chat", daemon=True)
        self._thread.start()
        return True

    def _answer(self, text: str, turn: Turn, view: Any) -> None:
        history, turns, question = self._history, self._turns, {"role": "user", "content": text}
        try:
            reply = self._receive([*self.messages, question], turn, view)
            turn.footer = footer(reply)
            if turn.text:
                history += [question, {"role": "assistant", "content": turn.text}]
        except Exception as error:  # this thread has nobody above it to tell
            turn.footer = "interrupted" if turn.text else "no answer"
            if turns is self._turns:  # not cleared meanwhile
                self._add(Turn("problem", "Could not answer", self._explain(error)))
        finally:
            turn.open = False
            view.value = turn.html()
            self._stream = None
            self._set_busy(False)

    def _receive(self, messages: list[dict[str, str]], turn: Turn, view: Any) -> Any:
        stream = self._stream = self._slm.stream(messages, **self._options)
        if self._stopping.is_set():  # pressed before there was anything to stop
            stream.stop()
        turn.footer, drawn = "answering …", 0.0
        for piece in stream:
            turn.text += piece
            if time.monotonic() - drawn > REDRAW_S:
                view.value, drawn = turn.html(), time.monotonic()
        return stream.reply

    # Showing -------------------------------------------------------------------------------

    @staticmethod
    def _explain(error: Exception) -> str:
        if isinstance(error, ContextFull):
            return f"{error} In this chat: press Clear to begin a new conversation."
        if isinstance(error, LabkitError):
            return str(error)
        return f"Unexpected {type(error).__name__}: {error}. Press Clear and try again."

    def _add(self, turn: Turn) -> Any:
        """Show one more turn. Each has its own widget, so that streaming resends only the last."""
        self._turns.append(turn)
        view = html_widget(turn.html())
        self._log.children += (view,)
        self._empty.layout.display = "none"
        return view

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        self.send_button.disabled, self.stop_button.disabled = busy, not busy

    def _say(self, notice: str) -> None:
        self._notice.value = f'<div class="lk-notice" role="status">{escape(notice)}</div>' if notice else ""

    def _head(self) -> str:
        told = f" · {escape(self._instructions)}" if self._instructions else ""
        return f'<div class="lk-head"><b>{escape(self._name)}</b>{told}</div>'

    def text(self) -> str:
        """The conversation as plain text, for a terminal."""
        turns = "\n".join(turn.plain() for turn in self._turns)
        return f"Chat with {self._name}\n{turns or f'{NOTHING} {HOW}'}"

    def html(self) -> str:
        """The conversation as static HTML, for pages where widgets do not render."""
        return page(self._head(), self._turns, f"{NOTHING} {HOW}")
