"""A report in words and short figures: what stands at the top of the page, and in a terminal."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.table import size

Found = Mapping[str, Any]


@dataclass(frozen=True)
class KeyFigure:
    """name and value for everyone, note for who wants to know more."""

    name: str
    value: str
    note: str = ""


def key_figures(found: Found) -> list[KeyFigure]:
    """The figures that a manager asks for, those that were not measured too."""
    done, tools, latency, cost = (found[name] for name in ("completion", "tools", "latency", "cost"))
    cheapest = cost["cloud"][0]
    return [
        KeyFigure("Jobs done", percent(done["share"]), f"{done['right']} of {done['n']}; {interval(done)}"),
        KeyFigure("Right tools", percent(tools["share"]), f"{tools['right']} of {tools['n']}; {interval(tools)}"),
        KeyFigure("Time to the answer", f"{latency['p50_s']:.2g} s", f"95 % within {latency['p95_s']:.2g} s"),
        KeyFigure("Memory", size(found["memory"]["peak_mb"] * 1e6), "at its highest, the Python process"),
        KeyFigure(f"{cost['requests']} requests here", money(cost["here"]["cost"], cost["currency"]),
                  "electricity alone" if cost["here"]["measured"] else "electricity alone, estimated"),
        KeyFigure(f"{cost['requests']} requests in the cloud", money(cheapest["cost"], cost["currency"]),
                  f"{cheapest['name']}, seen {cheapest['seen']}"),
        _network(found["network"]), _crash(found["crash"]), _safety(found["safety"]), _checklist(found["checklist"])]


def percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def interval(share: Found) -> str:
    return f"95\N{NO-BREAK SPACE}% interval {percent(share['low'])} to {percent(share['high'])}"


def money(amount: float, currency: str) -> str:
    """Two figures, however small."""
    return f"{amount:.2g}\N{NO-BREAK SPACE}{currency}" if amount < 10 else f"{amount:.0f}\N{NO-BREAK SPACE}{currency}"


def _network(network: Found) -> KeyFigure:
    if "not_run" in network:
        return KeyFigure("Without a network", "not run", network["not_run"])
    gone = network["phases"]["gone"]
    answered = gone["n"] - gone["unanswered"]
    return KeyFigure("Without a network", f"{answered} of {gone['n']} answered",
                     "and back to the far model afterwards" if network["came_back"] else "it did not find its way back")


def _crash(crash: Found) -> KeyFigure:
    if "not_run" in crash:
        return KeyFigure("After a crash", "not run", crash["not_run"])
    return KeyFigure("After a crash", f"{crash['back_s']:.2g} s", "from kill -9 to the first good answer")


def _safety(safety: Found) -> KeyFigure:
    if "not_run" in safety:
        return KeyFigure("Attacks that succeeded", "not run", safety["not_run"])
    return KeyFigure("Attacks that succeeded", f"{safety['succeeded']} of {safety['attacks']}", interval(safety))


def _checklist(checklist: Found) -> KeyFigure:
    if "not_run" in checklist:
        return KeyFigure("Production checklist", "not run", checklist["not_run"])
    count = {status: sum(line["status"] == status for line in checklist["findings"])
             for status in ("pass", "FAIL", "does not apply")}
    return KeyFigure("Production checklist", f"{count['pass']} pass, {count['FAIL']} fail",
                     f"{count['does not apply']} do not apply")


def verdict(found: Found) -> str:
    """Three sentences for the top of the page."""
    done, latency, cost = found["completion"], found["latency"], found["cost"]
    here, cloud = (money(each["cost"], cost["currency"]) for each in (cost["here"], cost["cloud"][0]))
    return (f"It did {done['right']} of {done['n']} jobs. Half of its answers took no longer than "
            f"{latency['p50_s']:.2g} s, 95 % of them no longer than {latency['p95_s']:.2g} s. {cost['requests']} "
            f"requests take {here} of electricity here, and {cloud} in the cloud ({cost['cloud'][0]['name']}).")
