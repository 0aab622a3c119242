"""`labkit attack`: the desks attacked, with and without each defence, and garak's probes against the service."""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from labkit.cli_common import Json


def _say(line: str) -> None:
    typer.echo(line, err=True)


def attack(desks: Annotated[list[str] | None, typer.Argument(metavar="[DESK...]", help="All of them, if none is "
                                                             "named.")] = None,
           full: Annotated[bool, typer.Option("--full", help="Every goal, wording and test request. Long.")] = False,
           scenarios: Annotated[int, typer.Option(min=1, help="Honest requests of each desk, without --full.")] = 3,
           garak: Annotated[bool, typer.Option("--garak", help="Instead: a public scanner's probes against labkit "
                                               "serve. Once before: labkit backend install garak")] = False,
           as_json: Json = False):
    """Attack the desks on the real model, with each defence and without: attacks that succeed, requests done."""
    report = _garak() if garak else attacked_desks(desks or [], full=full, scenarios=scenarios)
    typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else str(report))


def attacked_desks(desks: Sequence[str], **how: Any):
    """The table of attacks on the desks that are named, or on all."""
    from labkit import domains
    from labkit.attacks import measure
    from labkit.terminal import progress
    with progress("attack") as show:
        return measure.run(desks=desks or domains.NAMES, progress=show, **how)


def _garak():
    from labkit.attacks import garak
    from labkit.profiling.served import served
    with served() as url:
        return garak.run(f"{url}/v1", say=_say)

