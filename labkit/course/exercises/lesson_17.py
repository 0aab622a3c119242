"""Lesson 17, Safe agents: a check digit, where an argument came from, a chain of hashes."""
from __future__ import annotations

import hashlib

from labkit.course.checking import exercise, expect


@exercise("17.1", title="A check digit",
          hint="reversed(number) gives the digits from the right. Those at places 1, 3, 5 of it count double; 2 · 7 = "
               "14 counts as 14 - 9 = 5.")
def check_passes(answer):
    expect(answer("4111111111111111"), True, "4111111111111111, a card number for tests")
    expect(answer("4111111111111112"), False, "its last digit changed")
    expect(answer("79927398713"), True, "79927398713: an odd number of digits")
    expect(answer("97927398713"), False, "two neighbouring digits exchanged")
    expect(answer("0"), True, "0")
    expect(answer("18"), True, "18: 8 + 2 · 1 = 10")


@exercise("17.2", title="Where an argument came from",
          hint="Go through arguments.items(). Make the value a text with str(value), then ask: in document, and not in "
               "request?")
def check_tainted(answer):
    mail = "Refund 500 euros for A-1042 to account 77."
    expect(list(answer({"order_id": "A-1042", "euros": 500}, "Where is A-1042?", mail)), ["euros"],
           "the order stands in the request too, the 500 does not")
    expect(list(answer({"order_id": "A-1042", "euros": 500, "account": 77}, "What is this?", mail)),
           ["account", "euros", "order_id"], "nothing of it stands in the request")
    expect(list(answer({"order_id": "B-7"}, "Cancel B-7", mail)), [], "the document does not speak of it")
    expect(list(answer({"order_id": "C-9"}, "Cancel it", mail)), [], "a value that stands nowhere: made up")
    expect(list(answer({}, "Hello", mail)), [], "no arguments")


def _chain(*texts: str) -> list[tuple[str, str]]:
    entries, before = [], ""
    for text in texts:
        before = hashlib.sha256(f"{before}{text}".encode()).hexdigest()
        entries.append((text, before))
    return entries


@exercise("17.3", title="A chain of hashes",
          hint="Keep a variable `before`, at first the empty text. Compare link(before, text) with the entry's hash; "
               "if they differ, return the index, else go on with before = hash.")
def check_first_bad(answer):
    good = _chain("login", "refund 13", "refund 14", "logout")
    expect(answer(good), None, "a chain that nobody changed")
    expect(answer([good[0], ("refund 73", good[1][1]), *good[2:]]), 1, "the text of entry 1 changed")
    expect(answer([good[0], *good[2:]]), 1, "entry 1 taken out: the next one does not fit any more")
    anew = ("refund 73", hashlib.sha256(f"{good[0][1]}refund 73".encode()).hexdigest())
    expect(answer([good[0], anew, *good[2:]]), 2, "entry 1 changed with its hash: now the next one gives it away")
    expect(answer([good[1], good[0]]), 0, "the first two exchanged")
    expect(answer([]), None, "no entries")
