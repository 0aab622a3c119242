"""`labkit report`: an agent's report card, as a page and as JSON."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_common import Json


def report(agent: Annotated[str, typer.Argument(metavar="AGENT", help="A desk's name, or an agent's recipe (.yaml) or "
                                                "Python file (.py) with its scenarios beside it (.jsonl).")],
           to: Annotated[Path | None, typer.Option(metavar="PAGE", help="The HTML file; report-AGENT.html, if none is "
                                                   "given. The JSON file goes beside it.")] = None,
           count: Annotated[int, typer.Option(min=0, help="Scenarios at most; 0 for all.")] = 30,
           skip: Annotated[list[str], typer.Option(metavar="TRIAL", help="Leave out network, crash, safety or "
                                                   "checklist. Again for more.")] = [],  # noqa: B006
           rubric: Annotated[bool, typer.Option("--rubric", help="Grade it by the capstone's rubric.")] = False,
           thresholds: Annotated[Path | None, typer.Option(metavar="FILE", help="A rubric of your own, a YAML "
                                                           "file.")] = None,
           prices: Annotated[Path | None, typer.Option(metavar="FILE", help="Prices of your own, a YAML file.")] = None,
           as_json: Json = False):
    """Try an agent on its scenarios, take its network and its model away, and write a report. Takes minutes.

    Runs the Python file of an own agent.
    """
    from labkit.report import grade, make, page, read_prices, read_rubric, subject
    from labkit.terminal import progress
    wanted = read_rubric(thresholds) if rubric or thresholds else None
    with progress("report") as on_step:
        card = make(subject(agent), count or None, skip, read_prices(prices), on_step)
    graded = grade(card.to_dict(), wanted) if wanted else None
    if as_json:
        typer.echo(json.dumps(page.to_json(card, graded), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(map(str, [card, *([graded] if graded else [])])))
    for file in page.write(card, to or f"report-{card.to_dict()['agent']['name']}.html", graded):
        typer.echo(f"Written: {file}", err=True)
