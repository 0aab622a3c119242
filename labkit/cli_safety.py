"""`labkit audit` and `labkit redact`: safety from the command line."""
from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_common import Json, SaysWhatToDo, end
from labkit.errors import BadRequest

KEY = "LABKIT_AUDIT_KEY"
audit_app = typer.Typer(cls=SaysWhatToDo, no_args_is_help=True, rich_markup_mode=None,
                        help="Audit logs that show when they were changed.")


@audit_app.command(epilog=end("labkit audit verify audit.jsonl", "0 whole, 1 something was changed, 2 no such log"))
def verify(file: Annotated[Path, typer.Argument(help="The log's first file.")],
           anchor: Annotated[str, typer.Option(help="An anchor kept elsewhere, like 42:9f3c…")] = "",
           as_json: Json = False):
    """Check a log entry by entry, and name the first that is wrong. A key is read from LABKIT_AUDIT_KEY."""
    from labkit.safety.audit_check import verify as check
    found = check(file, os.environ.get(KEY) or None, anchor)
    typer.echo(json.dumps({**asdict(found), "path": str(found.path)}, indent=2) if as_json else str(found))
    raise typer.Exit(0 if found.ok else 1)


def redact(file: Annotated[Path | None, typer.Argument(help="A text in UTF-8; standard input, if none.")] = None,
           kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be given again.")] = None,
           measure: Annotated[str | None, typer.Option(metavar="SPLIT", help="Instead, measure precision and recall "
                                                       "on the labelled texts: dev or test.")] = None,
           as_json: Json = False):
    """Take personal data, secrets and unsafe content out of a text."""
    from labkit.safety import labelled, redaction
    if measure:
        score = labelled.measure(measure)
        typer.echo(json.dumps(score.to_dict(), indent=2) if as_json else str(score))
        return
    if unknown := set(kind or ()) - set(redaction.KINDS):
        raise BadRequest(f"There is no kind {sorted(unknown)[0]!r}. Kinds: {', '.join(redaction.KINDS)}.")
    try:
        text = file.read_text(encoding="utf-8") if file else sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {error}") from error
    found = redaction.redact(text, kinds=kind or redaction.KINDS)
    typer.echo(json.dumps(asdict(found), ensure_ascii=False) if as_json else found.text, nl=as_json or not file)
