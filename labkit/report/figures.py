"""The page's pictures: SVG that stands in the page, in the page's own colours, so that it is right by day and night."""
from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from labkit.report.words import money, percent

Found = Mapping[str, Any]
# Drawn in these, shown in the page's.
INK, ACCENT, MUTED, SOFT = "#010203", "#040506", "#070809", "#0a0b0c"
IN_PAGE = {INK: "currentColor", ACCENT: "var(--accent)", MUTED: "var(--muted)", SOFT: "var(--soft)"}
STYLE = {"svg.fonttype": "none", "font.size": 10, "text.color": INK, "axes.edgecolor": MUTED, "axes.labelcolor": INK,
         "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
         "axes.grid": True, "axes.axisbelow": True, "grid.color": SOFT, "grid.linewidth": 0.8,
         "legend.frameon": False, "legend.labelcolor": INK}


@dataclass(frozen=True)
class Picture:
    """svg: an element for the page. alt: what it shows, for who does not see it."""

    svg: str
    alt: str


def pictures(found: Found) -> dict[str, Picture]:
    """Those that there are figures for."""
    made: dict[str, Callable[[Found], Picture]] = {"completion": completion, "latency": latency, "cost": cost}
    if "not_run" not in found["network"]:
        made["network"] = network
    return {name: draw(found) for name, draw in made.items()}


@contextmanager
def _drawing(name: str, height: float) -> Iterator[tuple[Any, Callable[[str], Picture]]]:
    """(axes, what makes a picture of them)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        yield figure.add_subplot(), lambda alt: Picture(_svg(figure, name), alt)


def _svg(figure: Any, name: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg"):]
    for drawn, shown in IN_PAGE.items():
        svg = svg.replace(drawn, shown)
    svg = re.sub(r"(id=\"|url\(#|href=\"#)", rf"\g<1>{name}-", svg)  # several pictures stand in one page
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px '[^']*'(, [^;\"]*)?", r"font-size: \1px; font-family: inherit", svg)
    return re.sub(r'width="[^"]*pt" height="[^"]*pt"', "", svg, count=1).replace("<svg ", '<svg aria-hidden="true" ', 1)


def plain(text: str) -> str:
    """A text from somebody's file: matplotlib takes what stands between dollars for a formula."""
    return text.replace("$", r"\$")


def completion(found: Found) -> Picture:
    done = found["completion"]
    rows = [*done["kinds"].items(), ("all", done)]
    with _drawing("completion", 0.8 + 0.4 * len(rows)) as (axes, made):
        for place, (kind, share) in enumerate(rows):
            axes.plot([share["low"], share["high"]], [place, place], color=ACCENT, linewidth=2)
            axes.plot(share["share"], place, "o", color=ACCENT, markersize=8 if kind == "all" else 6)
        axes.set(xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.4), xlabel="share of jobs done, with its 95 % interval",
                 yticks=range(len(rows)), yticklabels=[f"{plain(kind)} ({share['n']})" for kind, share in rows])
        axes.xaxis.set_major_formatter(lambda value, _: percent(value))
        told = ", ".join(f"{kind} {share['right']} of {share['n']}" for kind, share in rows)
        return made(f"Jobs done: {told}. Lines show the 95 % intervals.")


def latency(found: Found) -> Picture:
    took = found["latency"]
    seconds = sorted(took["seconds"])
    with _drawing("latency", 2.6) as (axes, made):
        axes.plot(seconds, range(1, len(seconds) + 1), "o", color=ACCENT, markersize=4)
        for name, style in (("p50_s", "--"), ("p95_s", "-")):
            axes.axvline(took[name], color=INK, linestyle=style, linewidth=1,
                         label=f"{name.removesuffix('_s')}: {took[name]:.2f} s")
        axes.set(xlim=(0, None), ylim=(0, None), xlabel="seconds from the request to the answer",
                 ylabel="requests within it")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        return made(f"{len(seconds)} requests by their time: half within {took['p50_s']:.2f} s, 95 % within "
                    f"{took['p95_s']:.2f} s, the slowest {seconds[-1]:.2f} s.")


def cost(found: Found) -> Picture:
    about = found["cost"]
    rows = sorted([("here: electricity", about["here"]["cost"]), *((m["name"], m["cost"]) for m in about["cloud"])],
                  key=lambda row: -row[1])
    with _drawing("cost", 0.8 + 0.36 * len(rows)) as (axes, made):
        bars = axes.barh([plain(name) for name, _ in rows], [max(value, 1e-6) for _, value in rows], height=0.6,
                         color=[ACCENT if name.startswith("here") else MUTED for name, _ in rows])
        axes.bar_label(bars, [money(value, about["currency"]) for _, value in rows], padding=4, color=INK)
        axes.set(xscale="log", xlabel=f"{about['currency']} for {about['requests']} requests (logarithmic)")
        axes.margins(x=0.25)
        told = ", ".join(f"{name} {money(value, about['currency'])}" for name, value in rows)
        return made(f"What {about['requests']} requests cost: {told}.")


def network(found: Found) -> Picture:
    asked = found["network"]["asked"]
    places = {"": 0, "small": 1, "large": 2}
    gone = [one for one in asked if one["phase"] == "gone"]
    back = next(one["at_s"] for one in asked if one["phase"] == "back again")
    with _drawing("network", 1.9) as (axes, made):
        axes.axvspan(gone[0]["at_s"], back, color=SOFT, label="no network")
        for one in asked:
            axes.plot([one["at_s"], one["at_s"] + one["seconds"]], [places[one["tier"]]] * 2, "-|", color=ACCENT,
                      linewidth=5, markersize=9)
        axes.set(yticks=range(3), yticklabels=("nobody", "this machine", "far model"), ylim=(-0.6, 2.6),
                 xlabel="seconds since the trial began", ylabel="answered by")
        axes.legend(loc="lower right")
        return made(f"{len(asked)} requests in time. While the network was gone, "
                    f"{sum(one['tier'] == 'small' for one in gone)} of {len(gone)} were answered by the model on this "
                    "machine.")
