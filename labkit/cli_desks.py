"""`labkit desks`: how often the desks' agents do what they are asked."""
from __future__ import annotations

import json
from typing import Annotated

import typer

from labkit.cli_attack import attacked_desks
from labkit.cli_common import Json


def desks(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="support, technical, office, "
                                                            "assistant, finance, kiosk, clinic; all, if none is "
                                                            "given.")] = None,
          split: Annotated[str, typer.Option(help="dev to improve an agent on, test to measure it.")] = "dev",
          count: Annotated[int, typer.Option(min=0, help="Requests to each desk, spread evenly; 0 for all.")] = 0,
          untrained: Annotated[bool, typer.Option("--untrained", help="Without the adapter.")] = False,
          failures: Annotated[bool, typer.Option("--failures", help="List what was not done, and why.")] = False,
          attacks: Annotated[bool, typer.Option("--attacks", help="Attack them as well, as `labkit attack` does.")] =
          False,
          as_json: Json = False):
    """Measure the desks' agents: completion rate, judged by the database's end state, and seconds a request."""
    from labkit import connect, domains
    from labkit.terminal import measure
    chosen = tuple(names or domains.NAMES)
    found = measure("desks", names=chosen, split=split, count=count or None, untrained=untrained)
    if not as_json:
        typer.echo("\n".join([str(found), *(["", *map(_failed, found.failed)] if failures else [])]))
    attacked = attacked_desks(chosen, slm=connect(adapter=None) if untrained else None) if attacks else None
    if as_json:
        more = {"attacks": attacked.to_dict()} if attacked else {}
        typer.echo(json.dumps({**found.to_dict(), **more}, indent=2, ensure_ascii=False))
    elif attacked:
        typer.echo(f"\n{attacked}")


def _failed(outcome) -> str:
    return f"{outcome.scenario.id} ({outcome.scenario.kind}): {outcome.scenario.request}\n  {outcome.why}"
