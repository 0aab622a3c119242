"""`labkit report` as it is typed."""
from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from labkit.cli import app

QUICK = ["--skip", "network", "--skip", "crash", "--skip", "safety", "--skip", "checklist"]


def labkit(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_a_page_and_a_json_file_are_written(cups, tmp_path):
    done = labkit(cups(tmp_path), "--to", tmp_path / "card.html", "--rubric", "--json", *QUICK)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert told["rubric"]["of"] == 15 and told["completion"]["n"] == 3
    assert (tmp_path / "card.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("arguments, told", [
    (["nobody"], "AGENT is a desk's name (support, "),
    (["{cups}", "--skip", "netwrok"], "There is no trial 'netwrok'"),
    (["{cups}", "--thresholds", "gone.yaml"], "gone.yaml cannot be read"),
    (["{cups}", "--prices", "gone.yaml"], "gone.yaml cannot be read"),
])
def test_a_wrong_command_line_is_told_at_once(cups, tmp_path, arguments, told):
    file = cups(tmp_path)
    done = labkit(*(argument.format(cups=file) for argument in arguments))
    assert done.exit_code == 2 and told in done.stderr


def test_a_place_that_cannot_be_written_costs_no_figures(cups, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = labkit(cups(tmp_path), "--to", tmp_path / "file" / "card.html", *QUICK)
    assert done.exit_code == 1 and "cannot be written" in done.stderr and "Jobs done" in done.stdout
