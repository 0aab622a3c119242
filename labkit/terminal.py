"""What the commands do in a terminal: start JupyterLab, hold a chat, show a lesson's progress."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from labkit.errors import ContextFull, LabkitError
from labkit.models.cache import atomic_file
from labkit.table import Shown, Table, size

START = "00_start_here.ipynb"
# Defaults for JupyterLab: no news and no update check, because they use the network.
SETTINGS = Path(__file__).parent / "jupyter"
LOG_EVERY_S = 30  # where progress goes into a file
CHAT_HELP = "/clear forgets the conversation, /exit (or Ctrl-D) leaves, Ctrl-C stops an answer."


def lab_arguments(folder: Path, given: Sequence[str]) -> list[str]:
    """JupyterLab's command line for the course in `folder`. What the learner gives wins over ours."""
    page = f"/lab/tree/{START}" if (folder / START).is_file() else "/lab"
    ours = {"ServerApp.root_dir": str(folder), "ServerApp.ip": "127.0.0.1", "LabApp.default_url": page,
            **_codespace()}
    short = {"ServerApp.root_dir": "--notebook-dir", "ServerApp.ip": "--ip"}
    names = {argument.split("=", 1)[0] for argument in given}
    kept = [f"--{name}={value}" for name, value in ours.items()
            if f"--{name}" not in names and short.get(name) not in names]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in names:
        kept.append("--allow-root")  # in a container one is root; the token still guards the server
    return [*kept, *given]


def _codespace() -> dict[str, str]:
    """A Codespace shows the port under its own address, and JupyterLab must accept that origin."""
    name, domain = map(os.environ.get, ("CODESPACE_NAME", "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN"))
    return {"ServerApp.allow_origin_pat": rf"https://{name}-\d+\.{domain}"} if name and domain else {}


def run_lab(arguments: Sequence[str]) -> int:
    """Become JupyterLab; on Windows, where a process cannot, wait for it and return its exit code."""
    command = [sys.executable, "-m", "jupyterlab", *arguments]
    folders = [str(SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, folders))
    if os.name != "nt":
        os.execv(sys.executable, command)  # no parent is left that a signal could end before JupyterLab
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # JupyterLab got it too, and asks its own question
            continue


Write = Callable[[str], Any]


def write(text: str) -> None:
    """To the terminal, at once and without a line's end: an answer appears as it is made."""
    print(text, end="", flush=True)


def chat_loop(slm: Any, *, instructions: str | None, ask: Callable[[], str], write: Write,
              **options: Any) -> None:
    """Read a line with `ask`, stream the answer to `write`, until /exit or the end of input.

    A KeyboardInterrupt during an answer stops that answer; the conversation goes on.
    """
    history: list[dict[str, str]] = []
    first = [{"role": "system", "content": instructions}] if instructions else []
    while (text := _next_line(ask, write)) is not None:
        if text == "/clear":
            history = []
            write("The conversation is forgotten.\n")
        elif text.startswith("/"):
            write(f"{CHAT_HELP}\n")
        elif text:
            question = {"role": "user", "content": text}
            if answer := _answer(slm, [*first, *history, question], write, options):
                history += [question, {"role": "assistant", "content": answer}]


def _next_line(ask: Callable[[], str], write: Write) -> str | None:
    try:
        text = ask().strip()
    except KeyboardInterrupt:
        write(f"\n{CHAT_HELP}\n")
        return ""
    except EOFError:
        write("\n")
        return None
    return None if text in ("/exit", "/quit") else text


def _answer(slm: Any, messages: list[dict[str, str]], write: Write, options: dict[str, Any]) -> str:
    """Stream one answer. Returns what came of it, also when it was stopped; "" after an error."""
    stream, pieces = None, []
    try:
        stream = slm.stream(messages, **options)
        for piece in stream:
            pieces.append(piece)
            write(piece)
        write(f"\n{_cost(stream.reply)}\n")
    except KeyboardInterrupt:
        if stream is not None:
            stream.stop()
        write("\n[stopped]\n")
    except ContextFull as error:
        write(f"{error}\nIn this chat: /clear begins a new conversation.\n")
    except LabkitError as error:
        write(f"{error}\n")
    return "".join(pieces)


def _cost(reply: Any) -> str:
    speed = reply.timing.tokens_per_s
    limit = " · cut at --max-tokens" if reply.finish_reason == "length" else ""
    rate = f" · {speed:.0f} tokens/s" if speed == speed else ""  # not a number for a single token
    return f"[{reply.usage.completion_tokens} tokens · first after {reply.timing.ttft_s:.2f} s{rate}{limit}]"


def run_lessons(numbers: Sequence[str], *, solved: bool, timeout_s: float) -> Iterator[Any]:
    """Run lessons one after the other, with a progress bar on stderr; yields each LessonRun as it ends."""
    from labkit.course.lessons import find_lesson
    from labkit.course.running import run_lesson
    for number in numbers:  # a typing mistake in the last one should not cost the time of the others
        if not number.endswith(".ipynb"):
            find_lesson(number)
    for number in numbers:
        with progress(f"lesson {number}") as show:
            done = run_lesson(number, solved=solved, timeout_s=timeout_s,
                              on_cell=lambda cell, show=show: show(cell.number, cell.of, cell.line))
        yield done


def measure(name: str, **settings: Any) -> Any:
    """Run a measurement of labkit.profiling by its module's name, with a progress bar on stderr."""
    module = import_module(f"labkit.profiling.{name}")
    with progress(name) as show:
        return module.run(progress=show, **settings)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr; yields what moves it: (steps done, steps in all, a word on it).

    Where stderr is no terminal, a line now and then, for a log.
    """
    if not sys.stderr.isatty():
        yield _logged(title)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, line="")
        yield lambda done, total, line: bar.update(task, completed=done, total=total,
                                                   line=escape(line[:50]))


def _logged(title: str) -> Callable[[int | None, int, str], None]:
    last = time.monotonic()

    def show(done: int | None, total: int, line: str) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= LOG_EVERY_S:
            print(f"{title}: {'' if done is None else f'{done} of {total}, '}{line}", file=sys.stderr, flush=True)
            last = now
    return show


@dataclass(frozen=True)
class Models(Shown):
    """The files of the model that comes with the course. `runs` is the one that connect() loads."""

    runs: Path
    files: tuple[Path, ...]

    def table(self) -> Table:
        rows = tuple((path.name, size(path.stat().st_size), "runs" if path == self.runs else "")
                     for path in self.files)
        folders = sorted({str(path.parent) for path in self.files})
        return Table(("file", "size", ""), rows, note="\n".join(["", "In:", *folders]))

    def to_dict(self) -> dict[str, Any]:
        return {"runs": str(self.runs),
                "files": [{"path": str(path), "bytes": path.stat().st_size} for path in self.files]}


def prepared_models() -> Models:
    """Make the form that runs, if it is not in the cache yet, and say what is where."""
    from labkit.models import embedded
    runs = embedded.default_model()
    cached = embedded.form_path().parent.glob("*.gguf")
    return Models(runs, tuple(dict.fromkeys([runs, *sorted(cached), embedded.wheel_file()])))


def build_forms(kinds: Sequence[str], verify: bool, adapter: str | None = None) -> Iterator[Path]:
    """The folders of the embedded model's forms, each built if it is not there; progress on stderr.

    Of the kind gguf it is the file in the folder: what connect(model=…) takes.
    """
    from labkit.models import workshop
    for kind, _, precision in (form.partition(":") for form in kinds):
        with progress(kind) as show:
            folder = workshop.build(kind, lambda text, done, show=show: show(
                None if done is None else round(100 * done), 100, text),
                precision=precision or None, adapter=adapter, verify=verify)
            yield next(folder.glob("*.gguf"), folder)


TRAINING = {"resumed": "goes on at step {step}", "valid": "validation loss {loss:.3f}", "nan": "no number at {step}",
            "early stop": "no better for a while", "step": "loss {loss:.3f}",
            "candidate": "rung {rung}, {n} of {of}: rank {rank}, rate {rate:g}"}


@contextmanager
def _training(title: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the events of a training run as progress on stderr."""
    with progress(title) as show:
        yield lambda event: show(round(100 * event["progress"]) if "progress" in event else None, 100,
                                 TRAINING.get(event["event"], "").format_map(event))


def search_settings(given: Path, valid: Path | None, seconds: float, seed: int) -> Any:
    """What rank and rate suit a file of examples; progress on stderr."""
    from labkit.specialise import search
    with _training("searching") as hear:
        return search(given, valid=valid, seconds=seconds, seed=seed, on_event=hear)


def train_adapter(given: Path, target: Path, valid: Path | None, start: Path | None, **settings: Any) -> Table:
    """Train an adapter on a file of examples, progress with the loss on stderr; what came of it."""
    from labkit.models.adapter import Settings
    from labkit.specialise import specialise
    with _training("training") as hear:
        done = specialise(given, target, valid=valid, settings=Settings(**settings), start=start, on_event=hear)
    rows = tuple((str(step), f"{loss:.3f}", f"{right:.0%}") for step, loss, right in done.curve)
    return Table(("step", "validation loss, nats a token", "answers right"), rows,
                 note=f"{done.steps} steps in {done.seconds:.0f} s. Written: {done.path} "
                      f"({size(done.path.stat().st_size)}). Use it: labkit.connect(adapter={str(target)!r})")


def planned(level: str, source: Path | None) -> Any:
    """What quantising would do to each tensor."""
    from labkit.models import quantise
    return quantise.plan(quantise.start(source), level)


def quantised(level: str, source: Path | None) -> Any:
    """The file of a level, made if it is not in the cache, progress on stderr; taken apart."""
    from labkit.models import gguf_file, quantise
    with progress(level) as show:
        path = quantise.made(level, source, lambda done, of: show(done, of, "tensors"))
    print(path, file=sys.stderr)
    return gguf_file.read(path)


def measured_ladder(source: Path | None, full: bool, fresh: bool, picture: Path) -> Any:
    """Every level made and measured, progress on stderr; its picture is written to `picture`."""
    from labkit.course.plots import to_png
    from labkit.profiling.ladder import FULL, QUICK
    from labkit.widgets import ladder as drawn
    found = measure("ladder", source=source, sample=FULL if full else QUICK, fresh=fresh)
    try:
        with atomic_file(picture) as part:
            part.write_bytes(to_png(drawn.picture(found)))
    except OSError as error:
        raise LabkitError(f"{picture} cannot be written: {error.strerror}. Name another --picture.") from error
    print(f"{picture}: {drawn.words(found)}", file=sys.stderr)
    return found


def catalogue_for(role: str | None) -> Any:
    """The table of models, or which of them fits a role on this machine, and why."""
    from labkit.models import catalogue
    return catalogue.pick(role) if role else catalogue.table()
