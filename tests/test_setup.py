"""The set-up files say the same thing, and the tools that will read them can."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_NAMES = {"ortools-python": "ortools", "docstring_parser": "docstring-parser", "matplotlib-base": "matplotlib",
               "prometheus_client": "prometheus-client"}


def missing(what: str) -> None:
    """Skip with a reason; in CI, which installs everything, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")


def commands(language: str, after: str) -> list[str]:
    """The lines of the first code block of a language after some words of the README."""
    block = re.search(rf"```{language}\n(.*?)```", README[README.index(after):], re.DOTALL)
    return block.group(1).strip().splitlines()


def load(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def split(environment: dict) -> tuple[list[str], list[str]]:
    """(conda's requirements, pip's) of an environment file."""
    everything = environment["dependencies"]
    pip = next(d["pip"] for d in everything if isinstance(d, dict))
    return [d for d in everything if isinstance(d, str)], pip


def test_readme_has_one_line_to_open_and_one_to_test():
    opening, testing = commands("sh", "To open the course"), commands("sh", "pass the tests")
    assert len(opening) == len(testing) == 1
    assert opening[0].endswith(".venv/bin/pip install -e . && .venv/bin/labkit lab")
    assert '".[test]"' in testing[0] and "--nbval-lax tests notebooks" in testing[0]


def test_windows_lines_are_the_same_lines():
    unix = "\n".join(commands("sh", "To open the course") + commands("sh", "pass the tests"))
    windows = "\n".join(commands("powershell", "The same on Windows"))
    assert windows == unix.replace("python3 -m", "py -m").replace(".venv/bin/", ".venv\\Scripts\\")


@pytest.mark.skipif(os.name == "nt", reason="CI's script is for bash")
def test_ci_runs_the_readme_test_command():
    told = subprocess.run(["bash", str(ROOT / ".ci/run"), "--print-command"], capture_output=True, text=True,
                          check=True)
    assert told.stdout.splitlines() == commands("sh", "pass the tests")


def test_conda_installs_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    conda, pip = split(load("environment.yml"))
    ours = [d for d in conda + pip if d not in ("python=3.12", "pip", "-e .")]
    spelled = {re.sub(r"^[\w-]+", lambda name: CONDA_NAMES.get(name[0], name[0]), d) for d in ours}
    assert spelled == set(project["dependencies"])


def test_binder_has_the_same_environment_without_the_checkout():
    ours, binder = load("environment.yml"), load("binder/environment.yml")
    (conda, pip), (binder_conda, binder_pip) = split(ours), split(binder)
    assert [*binder_pip, "-e ."] == pip  # binder/ is no package: there postBuild installs labkit
    assert binder_conda == conda
    assert {k: v for k, v in binder.items() if k != "dependencies"} == {
        k: v for k, v in ours.items() if k != "dependencies"}


def test_repo2docker_makes_an_image_of_it():
    """Binder's own parser, which prints the Dockerfile that it would build."""
    if not importlib.util.find_spec("repo2docker"):
        missing("jupyter-repo2docker")
    user = ["--user-id", "1000", "--user-name", "jovyan"]
    command = [sys.executable, "-m", "repo2docker", "--no-build", *user]
    made = subprocess.run(
        [*command, "."], cwd=ROOT, capture_output=True, text=True, timeout=120)
    dockerfile = made.stdout + made.stderr  # it logs what it would build
    assert made.returncode == 0, dockerfile
    environment = dockerfile.index('env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"')
    checkout = dockerfile.index("src/ ${REPO_DIR}/\n")
    assert environment < checkout < dockerfile.index("RUN ./binder/postBuild")
    assert "python=3.12" in dockerfile


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
@pytest.mark.parametrize("script", ["binder/postBuild", ".ci/run"])
def test_scripts_are_bash_that_stops_at_an_error(script):
    text = (ROOT / script).read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n") and "\nset -euo pipefail\n" in text
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_codespace_opens_the_course():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container["forwardPorts"] == [8888]
    assert re.fullmatch(r"python:3\.1[1-9]-\w+", container["image"])  # the full image: it has a compiler
    assert container["postCreateCommand"].startswith("python -m pip install -e . && labkit models")
    for page in container["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / page).is_file()


def test_every_labkit_command_in_the_set_up_exists():
    import typer

    from labkit.cli import app
    known = set(typer.main.get_command(app).commands)
    files = ["README.md", "binder/postBuild", ".devcontainer/devcontainer.json", "environment.yml"]
    text = "\n".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    named = set(re.findall(r"(?:^|[`&/\\])\s*labkit ([a-z]+)", text, re.MULTILINE))
    assert named <= known
    assert set(re.findall(r"^\| `labkit (\w+)", README, re.MULTILINE)) == known  # the README's table
