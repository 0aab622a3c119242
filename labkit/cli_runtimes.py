"""`labkit models` and `labkit backend`: the model's forms, and runtimes with a server of their own."""
from __future__ import annotations

import json
from typing import Annotated

import typer

from labkit.cli_common import Json, SaysWhatToDo, end

models_app = typer.Typer(cls=SaysWhatToDo, rich_markup_mode=None, help="The models: what is here, and their forms.")


@models_app.callback()
def models(ctx: typer.Context, as_json: Json = False):
    """Prepare the model that comes with the course, and list what is where."""
    if ctx.invoked_subcommand:
        return
    from labkit.terminal import prepared_models
    found = prepared_models()
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))


@models_app.command(epilog=end("labkit models build hf onnx mlx", "0 built or already there, 1 it failed"))
def build(forms: Annotated[list[str], typer.Argument(metavar="FORM...", help="hf, onnx, mlx; or onnx:int4; with "
                                                     "--adapter also gguf.")],
          adapter: Annotated[str | None, typer.Option(help="Merge it into the weights: a file, or course for the "
                                                      "course's own.")] = None,
          verify: Annotated[bool, typer.Option("--verify", help="Check every file's checksum.")] = False):
    """Make the embedded model's forms for other runtimes, once. The first time needs a network, for the tools."""
    from labkit.terminal import build_forms
    for path in build_forms(forms, verify, adapter):
        typer.echo(str(path))


@models_app.command(epilog=end("labkit models catalogue --role code", "0"))
def catalogue(role: Annotated[str | None, typer.Option(help="routing, conversation, reasoning or code.")] = None):
    """Models by name: how large, for what, and which fits this machine."""
    from labkit.terminal import catalogue_for
    typer.echo(str(catalogue_for(role)))


backend_app = typer.Typer(cls=SaysWhatToDo, no_args_is_help=True, rich_markup_mode=None,
                          help="Runtimes that have an environment and a server of their own.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="vllm or mlx.")]


@backend_app.command(epilog=end("labkit backend install vllm", "0 installed, 1 it failed"))
def install(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="vllm, mlx, workshop or garak.")]):
    """Install runtimes, each in an environment of its own. Needs a network."""
    from labkit.models.environments import environment
    for name in names:
        environment(name).install(on_line=lambda line: typer.echo(line, err=True))
        typer.echo(f"{name} is installed.")


@backend_app.command(epilog=end("labkit backend start vllm --port 8000", "0 it answers, 1 it did not start"))
def start(name: Name, model: Annotated[str | None, typer.Option(help="None for the embedded model.")] = None,
          port: Annotated[int | None, typer.Option(help="Another is taken if this one is in use.")] = None):
    """Start a runtime's server, and wait until it answers. It stays until `labkit backend stop`."""
    from labkit.backends import managed
    server = managed.start(name, model, port, on_line=lambda line: typer.echo(line, err=True))
    typer.echo(f"{name} answers at {server.base_url}")


@backend_app.command(epilog=end("labkit backend stop vllm", "0 nothing of it runs any more"))
def stop(name: Name):
    """Stop a runtime's servers."""
    from labkit.backends import managed
    stopped = managed.stop(name)
    typer.echo(f"{name}: {stopped or 'none'} stopped")


@backend_app.command(epilog=end("labkit backend status", "0"))
def status(as_json: Json = False):
    """The backends usable here, what would help the others, and the servers that run."""
    import labkit as lk
    from labkit.backends import managed
    found = lk.backends()
    if as_json:
        typer.echo(json.dumps([{"name": b.name, "usable": b.usable, "why_not": b.why_not} for b in found], indent=2))
    else:
        typer.echo(f"{found}\n\n{managed.status()}")


@backend_app.command(epilog=end("labkit backend logs vllm --follow", "0"))
def logs(name: Name, lines: Annotated[int, typer.Option(min=1, help="How many of the last.")] = 50,
         follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False):
    """What a runtime's server wrote."""
    from labkit.backends import managed
    for line in managed.logs(name, lines, follow):
        typer.echo(line)
