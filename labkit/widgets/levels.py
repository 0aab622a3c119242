"""An explorer of the ladder: pick levels and see size, truth and speed; ask two of them the same question."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from ipywidgets import Button, Dropdown, HBox, SelectMultiple, Text, VBox

from labkit.errors import LabkitError
from labkit.profiling import two_answers
from labkit.profiling.ladder import Ladder, Rung
from labkit.profiling.two_answers import Answer, TwoAnswers
from labkit.widgets.render import ACCENT, FAINT, INK, LINE, SHADE, escape
from labkit.widgets.shown import InBackground, ShownAnywhere, html_widget

QUESTION = "What is the capital of France?"
Ask = Callable[[str, str, str], TwoAnswers]
STYLE = f"""<style>
.lk-levels {{ color: {INK}; font-size: 13px; max-width: 760px; }}
.lk-levels td, .lk-levels th {{ padding: 2px 8px; text-align: right; white-space: nowrap; }}
.lk-levels th:first-child, .lk-levels td:first-child {{ text-align: left; }}
.lk-levels .lk-track {{ display: inline-block; width: 90px; height: 9px; background: {SHADE}; text-align: left; }}
.lk-levels .lk-bar {{ display: block; height: 9px; background: {ACCENT}; }}
.lk-levels .lk-two {{ display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }}
.lk-levels .lk-answer {{ border: 1px solid {LINE}; padding: 6px 8px; white-space: pre-wrap; }}
.lk-levels mark {{ background: none; color: inherit; border-bottom: 3px solid {ACCENT}; font-weight: 600; }}
.lk-levels .lk-faint {{ color: {FAINT}; }}
</style>"""


class LevelExplorer(InBackground, ShownAnywhere, VBox):
    """Show it as the last line of a cell.

    ladder: what `labkit.profiling.ladder.run` gave. ask: how two levels are asked; the default makes and loads them.
    """

    def __init__(self, ladder: Ladder, ask: Ask = two_answers.ask):
        self.ladder, self._ask, self._pair, self._state = ladder, ask, None, ""
        names = [rung.level for rung in ladder.rungs]
        self.levels = SelectMultiple(options=names, value=names, description="Levels", rows=min(len(names), 11))
        self.one = Dropdown(options=names, value=names[0], description="Ask")
        self.other = Dropdown(options=names, value=names[-1], description="and")
        self.question = Text(value=QUESTION, description="Question", layout={"width": "auto", "flex": "1 1 240px"})
        self.button = Button(description="Ask both", icon="play", tooltip="Let both levels answer")
        self._figures, self._answers = html_widget(), html_widget()
        self.levels.observe(lambda _: self._draw(), "value")
        self.button.on_click(lambda _: self._start())
        super().__init__([HBox([self.levels, self._figures]),
                          HBox([self.question, self.one, self.other, self.button], layout={"flex_flow": "row wrap"}),
                          self._answers])
        self._draw()

    def compare(self, one: str, other: str, question: str = QUESTION) -> TwoAnswers:
        """Ask two levels, show both answers, and return them."""
        self.one.value, self.other.value, self.question.value = one, other, question
        self._work()
        if self._pair is None:
            raise LabkitError(self._state)
        return self._pair

    # -- answering -------------------------------------------------------------------------

    def _work(self) -> None:
        self.button.disabled, self._pair, self._state = True, None, "Both are answering …"
        self._draw()
        try:
            if not self.question.value.strip():
                raise LabkitError("Write a question first.")
            self._pair = self._ask(self.question.value, self.one.value, self.other.value)
            self._state = ""
        except LabkitError as error:
            self._state = str(error)
        finally:
            self.button.disabled = False
            self._draw()

    # -- drawing ---------------------------------------------------------------------------

    @property
    def chosen(self) -> list[Rung]:
        return [rung for rung in self.ladder.rungs if rung.level in self.levels.value]

    def _draw(self) -> None:
        self._figures.value, self._answers.value = STYLE + _figures(self.chosen), self._told()

    def _told(self) -> str:
        return f'<div class="lk-levels">{_two(self._pair) if self._pair else escape(self._state)}</div>'

    def html(self) -> str:
        return STYLE + _figures(self.chosen) + self._told()

    def text(self) -> str:
        rows = "\n".join(f"{r.level:8} {r.file_bytes / 1e6:5.0f} MB  KL {r.kl:.4f} nats  {r.same_top:6.1%} same  "
                         f"{r.decode.mean:4.0f} tokens/s" for r in self.chosen)
        return "\n\n".join(filter(None, [rows, str(self._pair) if self._pair else self._state]))


def _figures(rungs: Sequence[Rung]) -> str:
    """A table with a bar behind each figure, each from 0 to the highest of those shown."""
    columns = (("file", "MB", lambda r: r.file_bytes / 1e6, ".0f"), ("KL", "nats", lambda r: r.kl, ".4f"),
               ("decode", "tokens/s", lambda r: r.decode.mean, ".0f"))
    tops = [max((value(rung) for rung in rungs), default=0) or 1 for _, _, value, _ in columns]
    head = "".join(f"<th>{name}, {unit}</th>" for name, unit, *_ in columns)
    rows = "".join(f"<tr><td>{escape(rung.level)}</td>" + "".join(
        _cell(value(rung), top, form) for (_, _, value, form), top in zip(columns, tops, strict=True))
        + f"<td>{rung.same_top:.1%}</td></tr>" for rung in rungs)
    return (f'<div class="lk-levels"><table><tr><th>level</th>{head}<th>same top token</th></tr>{rows}</table></div>')


def _cell(value: float, top: float, form: str) -> str:
    return (f'<td>{value:{form}} <span class="lk-track"><span class="lk-bar" style="width:{100 * value / top:.0f}%">'
            "</span></span></td>")


def _two(pair: TwoAnswers) -> str:
    at = pair.parts_at
    said = "The answers are the same." if at is None else f"They part at token {at + 1}, underlined."
    return (f'<div class="lk-two">{_answer(pair.one, at)}{_answer(pair.other, at)}</div>'
            f'<div class="lk-faint">{said}</div>')


def _answer(answer: Answer, at: int | None) -> str:
    pieces = [escape(piece) for piece in answer.pieces]
    if at is not None and at < len(pieces):
        pieces[at] = f"<mark>{pieces[at]}</mark>"
    speed = "" if answer.tokens_per_s is None else f" {answer.tokens_per_s:.0f} tokens/s"
    return f'<div><b>{escape(answer.level)}</b><span class="lk-faint">{speed}</span>' \
           f'<div class="lk-answer">{"".join(pieces)}</div></div>'
