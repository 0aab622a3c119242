"""A conversation as it is shown: turns, their HTML and their text. Knows no widget."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.widgets.render import ACCENT, ALARM, FAINT, INK, LINE, PAPER, SHADE, clean, duration, escape

STYLE = f"""<style>
.lk-chat {{ border: 1px solid {LINE}; border-radius: 6px; background: {PAPER}; color: {INK};
  max-width: 760px; overflow: hidden; font-family: var(--jp-content-font-family, sans-serif);
  font-size: var(--jp-content-font-size1, 14px); line-height: 1.45; }}
.lk-chat .widget-html-content {{ line-height: 1.45; font-size: inherit; }}
.lk-chat .lk-head {{ padding: 6px 12px; border-bottom: 1px solid {LINE}; color: {FAINT}; }}
.lk-chat .lk-head b {{ color: {INK}; }}
.lk-chat .lk-empty {{ padding: 16px 12px; color: {FAINT}; }}
.lk-chat .lk-turn {{ margin: 8px 12px; }}
.lk-chat .lk-who {{ font-size: 12px; color: {FAINT}; }}
.lk-chat .lk-said {{ white-space: pre-wrap; overflow-wrap: anywhere; color: {INK}; }}
.lk-chat .lk-you {{ margin-left: 18%; text-align: right; }}
.lk-chat .lk-you .lk-said {{ display: inline-block; text-align: left; background: {SHADE};
  border-radius: 10px 10px 2px 10px; padding: 5px 11px; }}
.lk-chat .lk-model {{ border-left: 3px solid {ACCENT}; padding-left: 10px; margin-right: 8%; }}
.lk-chat .lk-problem {{ border: 1px dashed {ALARM}; border-radius: 4px; padding: 6px 10px; }}
.lk-chat .lk-problem .lk-who {{ color: {ALARM}; font-weight: 600; }}
.lk-chat .lk-foot {{ font-size: 12px; color: {FAINT}; margin-top: 2px; font-variant-numeric: tabular-nums; }}
.lk-chat .lk-notice {{ padding: 0 12px 8px; color: {FAINT}; font-size: 13px; }}
.lk-chat input[type=text]:focus-visible, .lk-chat button:focus-visible {{
  outline: 2px solid {ACCENT}; outline-offset: 1px; }}
</style>"""

ENDINGS = {"cancelled": " · stopped", "length": " · cut: the limit of tokens was reached"}


@dataclass
class Turn:
    """One entry of the conversation. kind: "you", "model" or "problem"."""

    kind: str
    who: str
    text: str = ""
    footer: str = ""
    open: bool = False  # still being written

    def html(self) -> str:
        cursor = "▍" if self.open else ""
        foot = f'<div class="lk-foot">{escape(self.footer)}</div>' if self.footer else ""
        role = ' role="alert"' if self.kind == "problem" else ""
        return (f'<div class="lk-turn lk-{self.kind}"{role} aria-busy="{str(self.open).lower()}">'
                f'<div class="lk-who">{escape(self.who)}</div>'
                f'<div class="lk-said">{escape(self.text)}{cursor}</div>{foot}</div>')

    def plain(self) -> str:
        foot = f"\n  [{self.footer}]" if self.footer else ""
        return f"{self.who}: {clean(self.text)}{foot}"


def footer(reply: Any) -> str:
    """One line on what an answer cost: tokens, time to the first of them, decode speed."""
    count, speed = reply.usage.completion_tokens, reply.timing.tokens_per_s
    rate = f" · {speed:.0f} tokens/s" if speed == speed else ""  # not a number: a single token
    first = f" · first after {duration(reply.timing.ttft_s)}" if count else ""
    return f"{count} token{'s' * (count != 1)}{first}{rate}{ENDINGS.get(reply.finish_reason, '')}"


def page(head: str, turns: list[Turn], if_empty: str) -> str:
    """The whole conversation as one static piece of HTML."""
    body = "".join(turn.html() for turn in turns) or f'<div class="lk-empty">{escape(if_empty)}</div>'
    return f'{STYLE}<div class="lk-chat">{head}{body}</div>'
