"""What the command line's files share: how a labkit error ends a command, and how its help ends."""
from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup

from labkit.errors import BadRequest, LabkitError


class SaysWhatToDo(TyperGroup):
    """A labkit error ends a command with its message, which says what to do, and no traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BadRequest as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
        except LabkitError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None


def end(example: str, codes: str) -> str:
    """The last lines of a command's help. The first character keeps the line breaks."""
    return f"\b\nExample:    {example}\nExit codes: {codes}"


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
