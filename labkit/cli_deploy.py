"""`labkit deploy`: services that outlive the command, from a YAML file."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_common import Json, SaysWhatToDo, end

deploy_app = typer.Typer(cls=SaysWhatToDo, no_args_is_help=True, rich_markup_mode=None,
                         help="Services that outlive the command, from a YAML file.")
Target = Annotated[str, typer.Argument(metavar="FILE", help="The YAML file, or the name of what is up.")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


@deploy_app.command(epilog=end("labkit deploy up desk.yaml", "0 all of it answers, 1 nothing of it runs, 2 the file "
                               "is wrong"))
def up(file: Annotated[Path, typer.Argument(help="The YAML file.")], as_json: Json = False):
    """Start what a file wants, and wait until it answers. It stays until `labkit deploy down`."""
    from labkit.serving import deploy
    told = deploy.up(file, say=_say)
    typer.echo(json.dumps(told.to_dict(), indent=2) if as_json else str(told))


@deploy_app.command(epilog=end("labkit deploy status desk.yaml", "0 all of it answers, 1 not all of it, 2 no such "
                               "deployment"))
def status(target: Annotated[str | None, typer.Argument(metavar="[FILE]", help="The YAML file or a name; all that "
                                                        "are up, if none is given.")] = None, as_json: Json = False):
    """How a deployment is: its processes, their memory, and what its canary has shown."""
    from labkit.serving import deploy
    found = [deploy.status(name) for name in ([target] if target else deploy.names())]
    if as_json:
        typer.echo(json.dumps([told.to_dict() for told in found], indent=2))
    else:
        typer.echo("\n\n".join(map(str, found)) or "Nothing is up. Start something with: labkit deploy up FILE")
    raise typer.Exit(0 if all(told.ok for told in found) else 1)


@deploy_app.command(epilog=end("labkit deploy down desk.yaml", "0 nothing of it runs any more, 2 no such deployment"))
def down(target: Target):
    """End a deployment in good order."""
    from labkit.serving import deploy
    typer.echo(f"{deploy.down(target, say=_say)} processes ended")


@deploy_app.command(epilog=end("labkit deploy nodes shop.yaml", "0, or 2 when the file is wrong"))
def nodes(file: Annotated[Path, typer.Argument(help="The YAML file of a distributed deployment.")]):
    """Say what each machine runs to join the cluster of a distributed deployment."""
    from labkit.serving import deployment, ray_deploy
    for line in ray_deploy.commands(deployment.read(file)):
        typer.echo(line)


@deploy_app.command(epilog=end("labkit deploy backup desk.yaml", "0 copied, 1 there is nothing, or it cannot be read"))
def backup(target: Target, to: Annotated[Path | None, typer.Option(help="A folder for it; labkit's own, if none is "
                                                                   "given.")] = None):
    """Copy a deployment's jobs and history, also while it runs."""
    from labkit.serving import deploy
    typer.echo(str(deploy.backup(target, to)))


@deploy_app.command(epilog=end("labkit deploy restore FOLDER", "0 done, 1 the backup is not whole, or it is up"))
def restore(folder: Annotated[Path, typer.Argument(help="The backup's folder.")]):
    """Give a deployment that is down its jobs and history back. What it has now is moved aside, not lost."""
    from labkit.serving import deploy
    typer.echo(str(deploy.restore(folder)))


def checklist(name: Annotated[str, typer.Argument(metavar="[LIST]", help="service, foundry-local, ollama or "
                                                  "vllm.")] = "service", as_json: Json = False):
    """Probe a service, or a runtime behind one, line by line: pass, fail or does not apply, with the evidence.

    Starts a service of its own and ends it; takes a minute or two.
    """
    from labkit.serving.checklist import lists, report
    tell = None if as_json else lambda finding: typer.echo(report.str_of(finding))
    found = lists.run(name, tell, _say)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else f"\n{found.verdict}")
    raise typer.Exit(0 if found.ok else 1)
