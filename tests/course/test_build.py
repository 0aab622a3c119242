"""One source, two notebooks; the same source always gives the same bytes."""
from __future__ import annotations

import json
from base64 import b64encode

import nbformat
import pytest

from labkit.course import build as builder
from labkit.course.build import BuildError, build, main
from labkit.course.plots import shrink_png
from labkit.course.source import SourceError, forms, read_source
from labkit.course.stored import clean_outputs, machine_paths
from labkit.errors import LabkitError


def read(path):
    return nbformat.read(path, as_version=4)


def test_both_forms(lesson):
    build(lesson)
    learner, solved = read(lesson.path), read(lesson.solved)
    assert learner.cells[2].source == 'def double(x):\n    """Twice x."""\n    ...  # twice x'
    assert solved.cells[2].source == 'def double(x):\n    """Twice x."""\n    return 2 * x'
    assert learner.cells[5].source == "given = [3, 1, 2]\nordered = ..."
    assert solved.cells[5].source == "given = [3, 1, 2]\nordered = sorted(given)"
    assert [c.id for c in learner.cells] == [c.id for c in solved.cells]
    assert len({c.id for c in learner.cells}) == len(learner.cells)
    assert learner.cells[5].metadata == {"tags": ["exercise"], "labkit": {"exercise": "90.2"}}
    assert learner.metadata.kernelspec.name == "python3"
    for notebook in (learner, solved):
        nbformat.validate(notebook)


def test_building_twice_changes_nothing(lesson):
    build(lesson, execute=True)
    before = lesson.path.read_bytes(), lesson.solved.read_bytes()
    build(lesson)
    assert (lesson.path.read_bytes(), lesson.solved.read_bytes()) == before
    assert main(["90", "--check"]) == 0


def test_outputs_are_stored_and_go_with_their_code(lesson, write_lesson):
    build(lesson, execute=True)
    learner = read(lesson.path)
    assert learner.cells[1].outputs[0].text == "ready\n"
    assert "90.1 not done yet" in learner.cells[3].outputs[0].data["text/plain"]
    assert not any(c.outputs or c.execution_count for c in read(lesson.solved).cells if c.cell_type == "code")
    assert "execution" not in json.dumps([c.metadata for c in learner.cells])
    text = lesson.source.read_text(encoding="utf-8")
    build(write_lesson(text.replace("One question.", "Another question.")))
    assert read(lesson.path).cells[1].outputs, "a change of words keeps the outputs"
    build(write_lesson(text.replace("[3, 1, 2]", "[3, 1, 2, 4]")))
    assert not read(lesson.path).cells[1].outputs, "outputs of other code must not stay"


def test_check_names_what_is_stale(lesson, write_lesson, capsys):
    assert main(["--check"]) == 1
    assert "is not there" in capsys.readouterr().err
    build(lesson)
    write_lesson(lesson.source.read_text(encoding="utf-8").replace("Twice x.", "Two x."))
    assert main(["--check"]) == 1
    err = capsys.readouterr().err
    assert "90_example.ipynb differs from its source in cell 2" in err
    assert "python -m labkit.course.build" in err
    build(lesson)
    lesson.source.unlink()
    assert main(["--check"]) == 1
    assert "has no source" in capsys.readouterr().err


def test_a_cell_that_raises_fails_the_build_and_writes_nothing(write_lesson):
    lesson = write_lesson("# %%\nx = 1\n\n# %%\n# a remark\nx / 0\n")
    with pytest.raises(BuildError, match="cell 2 failed.*ZeroDivisionError: division by zero"):
        build(lesson, execute=True)
    assert not lesson.path.exists()


@pytest.mark.parametrize("code", ["import os; print(os.getcwd())", "import sys; sys.executable",
                                  "import tempfile; print(tempfile.gettempdir() + '/x')"])
def test_a_path_of_this_machine_fails_the_build(write_lesson, code):
    with pytest.raises(BuildError, match="paths of this machine: cell 0: "):
        build(write_lesson(f"# %%\n{code}\n"), execute=True)


def test_words_that_only_look_like_paths_pass():
    new_output = nbformat.v4.new_output
    cell = nbformat.v4.new_code_cell("", outputs=[new_output("stream", text="https://x.org/home/me a/root")])
    home = new_output("display_data", data={"text/plain": "/home/ada/x", "image/png": "/home/ada"})
    assert machine_paths(nbformat.v4.new_notebook(cells=[cell]), ("/home/me",)) == []
    cell.outputs = [home]
    assert machine_paths(nbformat.v4.new_notebook(cells=[cell]), ("/home/ada",)) == ["cell 0: /home/ada/x"]


@pytest.mark.parametrize("raw, message", [
    ("x = 1\n# solution\ny = 2", "without '# end'"),
    ("# solution\n# solution\n# end", "inside another"),
    ("if 1:\n    # solution\n    x = 1\n# end", "not indented like"),
])
def test_broken_markers_are_named(raw, message):
    with pytest.raises(SourceError, match=message):
        forms(raw)


def test_an_end_in_ordinary_code_is_a_comment():
    assert forms("x = 1\n# end\ny = 2") == ("x = 1\n# end\ny = 2",) * 2
    assert forms("# %% x\n#~ y", "markdown") == ("# %% x\n#~ y",) * 2


CHECK = '# %%\ncheck("90.1", f)\n'
EXERCISE = "# %%\ndef f():\n    # solution\n    return 1\n    # end\n    #~ ...\n"


@pytest.mark.parametrize("source, message", [
    (EXERCISE, "no check"),
    (EXERCISE + EXERCISE + CHECK, "no check"),
    (CHECK, "no exercise before"),
    (EXERCISE + CHECK + CHECK, "twice"),
    (EXERCISE + CHECK.replace("90", "80"), "another lesson"),
    (EXERCISE.replace("    #~ ...\n", "") + CHECK, "learner's form of 90.1 is not Python"),
    (EXERCISE.replace("return 1", "return 1 +") + CHECK, "solved form of 90.1 is not Python"),
    ("# %%\n" + "x = 1\n" * 31, "31 lines"),
])
def test_a_broken_source_is_refused(write_lesson, source, message):
    lesson = write_lesson(source)
    with pytest.raises(SourceError, match=message):
        build(lesson)
    assert main(["90"]) == 1


def test_magics_and_equal_cells(write_lesson):
    lesson = write_lesson("# %%\n# %matplotlib inline\n\n# %%\nx = 1\n\n# %%\nx = 1\n")
    build(lesson)
    cells = read(lesson.path).cells
    assert cells[0].source == "%matplotlib inline"
    assert cells[2].id == cells[1].id + "-2"


def test_no_such_lesson(lesson, capsys):
    assert main(["91"]) == 1
    assert "There is no lesson 91. There are 90." in capsys.readouterr().err


def test_a_cell_keeps_its_id_when_another_comes_before_it(lesson):
    first = [c.id for c in builder.derive(lesson, solved=False).cells]
    text = lesson.source.read_text(encoding="utf-8")
    lesson.source.write_text(f"# %%\nnew = 1\n\n{text}", encoding="utf-8")
    assert [c.id for c in builder.derive(lesson, solved=False).cells][1:] == first


def test_widgets_without_another_form_are_not_stored():
    widget = "application/vnd.jupyter.widget-view+json"
    new_output = nbformat.v4.new_output
    outputs = [new_output("display_data", data={widget: {"model_id": "1"}, "text/plain": "VBox()"}),
               new_output("display_data", data={widget: {}, "text/plain": "t", "text/html": "<p>t</p>"}),
               new_output("stream", text="10 %\r20 %\rdone\nnext\r\n")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    clean_outputs(notebook)
    html, stream = notebook.cells[0].outputs
    assert set(html.data) == {"text/plain", "text/html"}
    assert stream.text == "done\nnext\r\n"


def test_figures_are_stored_small_and_carry_words(write_lesson):
    lesson = write_lesson(
        "# %%\nfrom matplotlib import pyplot as plt\nfrom labkit.course import alt, plot_style\n"
        "plot_style()\nfigure, axes = plt.subplots()\naxes.plot([1, 2, 3])\n"
        "alt(figure, 'A line that rises from 1 to 3.')\n")
    build(lesson, execute=True)
    image, words = read(lesson.path).cells[0].outputs  # and no second copy of the figure
    assert image.metadata["image/png"]["alt"] == "A line that rises from 1 to 3."
    assert "A line that rises" in words.data["text/html"]
    assert 1_000 < len(image.data["image/png"]) < 20_000


def test_shrinking_keeps_a_small_picture_and_makes_a_big_one_smaller():
    from io import BytesIO

    from PIL import Image
    buffer = BytesIO()
    Image.linear_gradient("L").convert("RGBA").resize((600, 300)).save(buffer, "png")
    small = shrink_png(buffer.getvalue())
    assert len(small) < len(buffer.getvalue()) and shrink_png(small) == small
    assert Image.open(BytesIO(small)).size == (600, 300) and b64encode(small)


def test_source_reads_tags_and_exercises(lesson):
    cells = read_source(lesson.source).cells
    assert [c.exercise for c in cells if c.exercise] == ["90.1", "90.2"]
    assert issubclass(SourceError, LabkitError)
