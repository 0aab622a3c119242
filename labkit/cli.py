"""The command `labkit`. Thin: a command parses, calls one function, and makes an exit code of the outcome.

0: it worked. 1: it did not (the last line says why and what to do). 2: the command line is wrong.
Modules are imported inside the commands, so that --help answers at once.
"""
from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_attack import attack
from labkit.cli_common import Json, SaysWhatToDo, end
from labkit.cli_deploy import checklist, deploy_app
from labkit.cli_desks import desks
from labkit.cli_report import report
from labkit.cli_runtimes import backend_app, models_app
from labkit.cli_safety import audit_app
from labkit.cli_safety import redact as redact_command
from labkit.errors import BadRequest

app = typer.Typer(
    cls=SaysWhatToDo, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="AI agents on small language models: a course and a lab kit. Start with: labkit lab",
    epilog="Exit codes: 0 it worked, 1 it did not, 2 the command line is wrong.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from labkit import __version__
        typer.echo(f"labkit {__version__}")
        raise typer.Exit


@app.callback()
def main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                               help="Print the version and leave.")] = False) -> None:
    # A Windows code page knows fewer characters than a model writes, and a pipe can hold any bytes.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@app.command(epilog=end("labkit lab --port=8899", "JupyterLab's own, 2 no lessons found"),
             context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(ctx: typer.Context,
        no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False):
    """Open the course in JupyterLab, on this machine only. Further options go to JupyterLab."""
    from labkit.course.lessons import WHERE, notebooks_dir
    from labkit.terminal import lab_arguments, run_lab
    folder = notebooks_dir()
    if folder is None or not folder.is_dir():
        raise BadRequest(WHERE)
    given = [*(["--no-browser"] if no_browser else []), *ctx.args]
    raise typer.Exit(run_lab(lab_arguments(folder, given)))


@app.command(epilog=end("labkit doctor --json", "0 the course runs here, 1 something must be done"))
def doctor(as_json: Json = False):
    """Say what works on this machine, and what to do about the rest."""
    from labkit import doctor as checks
    report = checks.run(None if as_json else lambda check: typer.echo(checks.line(check)))
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else f"\n{report.verdict}")
    raise typer.Exit(0 if report.ok else 1)


@app.command(epilog=end('labkit chat --system "Answer in one sentence."', "0 you left, 1 no model"))
def chat(system: Annotated[str | None, typer.Option(help="Instructions for the model.")] = None,
         max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
         temperature: Annotated[float, typer.Option(min=0.0, help="0 gives the likeliest answer.")] = 0.0,
         seed: Annotated[int | None, typer.Option(help="Makes a temperature above 0 repeatable.")] = None,
         backend: Annotated[str | None, typer.Option(help="A runtime as in labkit.connect().")] = None):
    """Chat with the model. Ctrl-C stops an answer, /exit leaves."""
    import labkit as lk
    from labkit.terminal import CHAT_HELP, chat_loop, write
    slm = lk.connect(backend) if backend else lk.connect()
    prompt = "> " if sys.stdin.isatty() else ""
    if prompt:
        typer.echo(f"{slm.model}. {CHAT_HELP}")
    chat_loop(slm, instructions=system, ask=lambda: input(prompt), write=write,
              max_tokens=max_tokens, temperature=temperature, seed=seed)


@app.command(epilog=end("labkit run 00 01 --solved", "0 every cell ran, 1 a cell failed, 2 no such lesson"))
def run(lessons: Annotated[list[str], typer.Argument(metavar="NN...", help="Numbers or paths of notebooks.")],
        solved: Annotated[bool, typer.Option("--solved", help="Run the forms with the solutions.")] = False,
        timeout: Annotated[float, typer.Option(min=1, help="Seconds for a whole lesson.")] = 300,
        as_json: Json = False):
    """Run lessons without a browser. The notebooks are not changed."""
    from labkit.terminal import run_lessons
    runs = []
    for done in run_lessons(lessons, solved=solved, timeout_s=timeout):
        runs.append(done)
        if not as_json:
            typer.echo(str(done))
    if as_json:
        typer.echo(json.dumps([{"ok": done.ok, **asdict(done)} for done in runs], indent=2))
    raise typer.Exit(0 if all(done.ok for done in runs) else 1)


@app.command(epilog=end("labkit bench --compare", "0 measured, 1 the model did not start"))
def bench(compare: Annotated[bool, typer.Option("--compare", help="Against llama-cpp-python alone.")] = False,
          tools: Annotated[bool, typer.Option("--tools", help="Tool calls, on BFCL's cases.")] = False,
          adapter: Annotated[str, typer.Option(help="For --tools: a file, or the course's own.")] = "course",
          cases: Annotated[int, typer.Option(min=0, help="For --tools: of each kind; 0 for all.")] = 50,
          forms: Annotated[bool, typer.Option("--forms", help="The model in F16, Q8_0 and Q4_1.")] = False,
          backends: Annotated[str | None, typer.Option(metavar="NAMES", help="The league table: all, or names "
                                                       "with commas.")] = None,
          answer_tokens: Annotated[int, typer.Option(min=2, help="Of the league's answers: the longer, the less "
                                                     "their prompts count.")] = 12,
          overhead: Annotated[bool, typer.Option("--serve", help="What `labkit serve` costs a request.")] = False,
          load: Annotated[bool, typer.Option("--load", help="The service at twice its capacity.")] = False,
          seconds: Annotated[float, typer.Option(min=1, help="For --load: of twice the capacity.")] = 60,
          connectors: Annotated[bool, typer.Option("--connectors", help="What each connector adds.")] = False,
          agents: Annotated[bool, typer.Option("--agents", help="Routers, a cascade, a hand-off: minutes.")] = False,
          everything: Annotated[bool, typer.Option("--all", help="All of it, for a report.")] = False,
          as_json: Json = False):
    """Measure speed against this machine's memory bandwidth (about 15 s), or what an option names."""
    from labkit.terminal import measure
    chosen = {  # the comparison first: memory that other measurements used and gave back slows it by 3 %
        "compare": everything or compare,
        "bench": everything or not (compare or forms or tools or backends or overhead or load or connectors
                                      or agents),
        "forms": everything or forms,
        "tool_calls": everything or tools,
        "serving": everything or overhead,
        "load": everything or load,
        "connectors": everything or connectors,
        "agents": everything or agents,
        "league": everything or backends,
    }
    settings = {"league": {"names": backends or "all", "answer_tokens": answer_tokens},
                "load": {"seconds": seconds}, "tool_calls": {"adapter": adapter, "cases": cases or None}}
    found = {}
    for name, wanted in chosen.items():
        if wanted:
            found[name] = measure(name, **settings.get(name, {}))
            if not as_json:
                typer.echo(f"{found[name]}\n")
    if as_json:
        typer.echo(json.dumps({name: result.to_dict() for name, result in found.items()}, indent=2))


@app.command(epilog=end("labkit quantise Q4_K_M --source model-f16.gguf", "0 done, 1 it could not be made, 2 no "
                         "such level"))
def quantise(level: Annotated[str | None, typer.Argument(metavar="LEVEL", help="To make one: F16, Q8_0, …")] = None,
             source: Annotated[Path | None, typer.Option(help="A GGUF; None for the embedded model's F16.")] = None,
             ladder: Annotated[bool, typer.Option("--ladder", help="Make and measure every level.")] = False,
             full: Annotated[bool, typer.Option("--full", help="The ladder with more of everything: minutes.")] = False,
             fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what was measured.")] = False,
             picture: Annotated[Path, typer.Option(help="Where the ladder's picture goes.")] = Path("ladder.png"),
             plan: Annotated[bool, typer.Option("--plan", help="Only say which tensors would fall back.")] = False,
             as_json: Json = False):
    """Make a level of quantisation, or measure the whole ladder on this machine."""
    from labkit import terminal
    if ladder == (level is not None):
        raise BadRequest("Name a level, or ask for --ladder.")
    if ladder:
        done = terminal.measured_ladder(source, full, fresh, picture)
    else:
        done = terminal.planned(level, source) if plan else terminal.quantised(level, source)
    typer.echo(json.dumps(done.to_dict(), indent=2) if as_json else str(done))


@app.command(epilog=end("labkit serve --port 8484", "0 ended by Ctrl-C, 1 it did not start, 2 open, no key"))
def serve(backend: Annotated[str, typer.Option(help="A runtime as in labkit.connect().")] = "llama.cpp",
          model: Annotated[str | None, typer.Option(help="A model as that runtime names it.")] = None,
          host: Annotated[str, typer.Option(help="Another address than this needs an API key.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8484,
          api_key: Annotated[str | None, typer.Option(envvar="LABKIT_API_KEY", help="Asked of every client.")] = None,
          at_once: Annotated[int, typer.Option(min=1, help="Answers in the making.")] = 16,
          waiting: Annotated[int, typer.Option(min=0, help="Requests in the queue; one client gets half of it.")] = 128,
          deadline: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take, with its "
                                                  "waiting.")] = 600,
          rate: Annotated[str | None, typer.Option(help="Of one client, like 60/minute.")] = None,
          jobs: Annotated[Path | None, typer.Option(help="A file to keep jobs in; with it there is /jobs.")] = None,
          agent: Annotated[Path | None, typer.Option(metavar="RECIPE", help="An agent's YAML file; with it there is "
                                                     "/chat. Its model is served.")] = None,
          history: Annotated[Path | None, typer.Option(help="A file to keep what is measured in, for 7 days; without "
                                                       "it the last hour is in memory.")] = None,
          alerts: Annotated[Path | None, typer.Option(help="A YAML file of alerts and what they do.")] = None,
          log: Annotated[Path | None, typer.Option(help="A file for a line of JSON about each request.")] = None):
    """Serve the model at OpenAI's and Ollama's routes, for their clients, editors and frameworks."""
    from labkit.serving.app import serve as run_server
    from labkit.serving.tickets import Limits
    run_server(backend, model, host, port, api_key, Limits(at_once, waiting, deadline, rate), jobs, agent,
               history, alerts, log, say=typer.echo)


@app.command(epilog=end("labkit mcp shop.py --http 8000", "0 ended by its client or by Ctrl-C, 1 it did not start, "
                        "2 no tools in the file"))
def mcp(file: Annotated[Path, typer.Argument(help="A Python file with @lk.tool functions.")],
        http: Annotated[int | None, typer.Option(min=0, max=65535, metavar="PORT", help="At http://127.0.0.1:PORT/mcp, "
                                                 "not on stdin and stdout. 0 takes a free port.")] = None,
        read_only: Annotated[list[str], typer.Option(metavar="TOOL", help="It changes nothing: a client may run it "
                                                     "without asking. Again for more.")] = []):  # noqa: B006
    """Serve a file's tools to other programs over MCP, the Model Context Protocol."""
    from labkit.agents.mcp_serve import serve_file
    serve_file(file, http, read_only)


@app.command(epilog=end('labkit agent desk.yaml "Where is my order A-1042?"', "0 it answered, 1 it did not, 2 the "
                        "recipe is wrong"))
def agent(recipe: Annotated[Path, typer.Argument(help="A YAML file, as the agent builder exports it.")],
          request: Annotated[str, typer.Argument(help="What it shall do.")], as_json: Json = False):
    """Let an agent work on a request. Runs the Python file that its recipe names."""
    from labkit.agents.recipe import load
    run = load(recipe).run(request)
    typer.echo(json.dumps(run.to_dict(), indent=2, ensure_ascii=False, default=str) if as_json else str(run))
    raise typer.Exit(0 if run.text else 1)


@app.command(epilog=end("labkit specialise mine.jsonl mine.gguf --seconds 60", "0 trained, 1 it was not, "
                         "2 the examples are wrong"))
def specialise(examples: Annotated[Path, typer.Argument(help="Tools and requests, a JSON object a line.")],
               target: Annotated[Path, typer.Argument(help="The adapter to write, a .gguf file.")],
               valid: Annotated[Path | None, typer.Option(help="Examples to judge by; else every tenth.")] = None,
               steps: Annotated[int, typer.Option(min=1, help="To train at most: with them the outcome is the same "
                                                  "again, with --seconds it depends on the machine.")] = 100_000,
               seconds: Annotated[float, typer.Option(min=1, help="To train at most.")] = 3600,
               rank: Annotated[int, typer.Option(min=1, help="Of the adapter: its size, and what it can hold.")] = 32,
               rate: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 1.8e-3,
               layers: Annotated[int | None, typer.Option(min=1, help="How many of the last layers learn: fewer make "
                                                          "a step shorter. Not given: all.")] = None,
               passes: Annotated[int, typer.Option(min=1, help="How often to go through the examples.")] = 1,
               start: Annotated[Path | None, typer.Option(help="An adapter of this rank to go on from.")] = None,
               check: Annotated[int, typer.Option(min=1, help="Steps between two looks, and checkpoints.")] = 50,
               search: Annotated[float, typer.Option(min=0, help="Seconds to look for rank and rate before; 0 takes "
                                                     "those given.")] = 0,
               seed: Annotated[int, typer.Option(min=0)] = 0):
    """Train an adapter for tool calls on the embedded model. A run that was killed goes on where it was."""
    from labkit.terminal import search_settings, train_adapter
    if search:
        found = search_settings(examples, valid, search, seed)
        typer.echo(f"{found}\n")
        rank, rate = found.best.settings.rank, found.best.settings.rate
    typer.echo(train_adapter(examples, target, valid, start, steps=steps, seconds=seconds, rank=rank, rate=rate,
                             layers=layers, passes=passes, check=check, seed=seed))


app.add_typer(models_app, name="models", invoke_without_command=True,
              epilog=end("labkit models build onnx", "0 it is ready, 1 it is not"))
app.add_typer(backend_app, name="backend",
              epilog=end("labkit backend start vllm", "0 done, 1 it failed, 2 no such one"))
app.command(epilog=end("labkit desks support --split test", "0 measured, 1 no model, 2 no such desk"))(desks)
app.command(epilog=end("labkit attack support kiosk", "0 measured, 1 no model, 2 no such desk"))(attack)
app.command(epilog=end("labkit checklist service", "0 nothing failed, 1 something did, 2 no such list"))(checklist)
app.command(epilog=end("labkit report desk.yaml --rubric", "0 written, 1 it could not be, 2 the agent's files are "
                       "wrong"))(report)
app.add_typer(deploy_app, name="deploy", epilog=end("labkit deploy up desk.yaml", "0 done, 1 it failed, 2 wrong file"))
app.add_typer(audit_app, name="audit", epilog=end("labkit audit verify audit.jsonl", "0 whole, 1 changed, 2 no log"))
app.command("redact", epilog=end("labkit redact mail.txt", "0 done, 2 no such file or kind"))(redact_command)


if __name__ == "__main__":
    app()
