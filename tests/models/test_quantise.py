"""Levels made by llama.cpp: what was announced is what is in the file, and what cannot be done is said."""
from __future__ import annotations

import shutil
import warnings
from collections import namedtuple

import gguf
import numpy as np
import pytest

import labkit as lk
from labkit.models import embedded, gguf_file
from labkit.models.quantise import LEVELS, made, moved, plan, quantise


@pytest.fixture(scope="module")
def f16():
    return embedded.default_model()


@pytest.fixture(scope="module")
def low(f16, tmp_path_factory):
    """The fewest bits."""
    path = tmp_path_factory.mktemp("levels") / "low.gguf"
    quantise(f16, path, "Q2_K")
    return path


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_a_plan_and_writes_nothing(f16, level):
    before = set(f16.parent.iterdir())
    found = plan(f16, level)
    assert found.n_tensors == 272 and found.level == level and str(found)
    assert set(f16.parent.iterdir()) == before and all(f.columns % f.block for f in found.fallbacks)
    # Levels of the old kind want Q6_K for one tensor, the token table.
    assert len(found.fallbacks) == (0 if level in ("F16", "Q8_0") else 180 if "_K" in level else 1)


def test_the_file_is_what_the_plan_said(f16, low):
    announced, file = plan(f16, "Q2_K"), gguf_file.read(low)
    assert len(announced.fallbacks) == 180
    assert all(file.by_name[f.tensor].type == f.used for f in announced.fallbacks)
    assert sum(t.n_bytes for t in file.tensors) == pytest.approx(announced.n_bytes, rel=1e-3)
    kept = {t.name for t in file.tensors if t.type.endswith("_K")}
    assert kept and not kept & {f.tensor for f in announced.fallbacks} and all(
        file.by_name[name].shape[0] % 256 == 0 for name in kept)
    assert file.bits_per_weight > 5, "two bits in its name only"


@pytest.mark.parametrize("level, kind", [("Q8_0", "Q8_0"), ("Q4_0", "Q4_0")])
def test_llama_cpps_blocks_are_those_of_the_formula(f16, tmp_path, level, kind):
    quantise(f16, tmp_path / "x.gguf", level)
    name = "blk.0.ffn_up.weight"
    mine = gguf.quants.quantize(gguf_file.read(f16).weights(name), gguf.GGMLQuantizationType[kind])
    assert np.mean(mine != gguf_file.read(tmp_path / "x.gguf").raw(name)) < 1e-3  # ties are rounded either way


def test_rounding_twice_is_allowed_with_a_warning_that_names_the_loss(low, f16, tmp_path):
    with pytest.warns(UserWarning, match=r"low.gguf has 5\.\d bits a weight.*Q3_K_M moves them by another \d+\.\d%"):
        quantise(low, tmp_path / "lower.gguf", "Q3_K_M")
    with warnings.catch_warnings(action="error"):
        quantise(low, tmp_path / "f16.gguf", "F16")
    assert moved(low, tmp_path / "f16.gguf") < 1e-3 < moved(f16, low)


def test_a_level_is_made_once_and_shows_how_far_it_is(f16, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    seen = []
    first = made("Q4_0", f16, lambda done, of: seen.append((done, of)))
    written = first.stat().st_mtime_ns
    assert seen == [(n, 272) for n in range(1, 273)] and made("Q4_0", f16).stat().st_mtime_ns == written
    assert first.name.startswith(f"{f16.stem}.Q4_0-from-") and [p.name for p in first.parent.iterdir()] == [first.name]


def test_what_cannot_be_done_is_said(f16, tmp_path, monkeypatch):
    with pytest.raises(lk.BadRequest, match="Unknown level 'Q9'.*Q8_0"):
        made("Q9")
    with pytest.raises(lk.BadRequest, match="Unknown level 'Q9'"):
        quantise(f16, tmp_path / "x.gguf", "Q9")
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    with pytest.raises(lk.ModelFileError, match="no.gguf cannot be read as a GGUF file"):
        quantise(tmp_path / "no.gguf", tmp_path / "x.gguf", "Q8_0")
    with pytest.raises(lk.ModelFileError, match="could not be written as Q8_0"):
        quantise(f16, tmp_path / "no folder" / "x.gguf", "Q8_0")
    (tmp_path / "cut.gguf").write_bytes(f16.read_bytes()[:100_000_000])
    with pytest.raises(lk.ModelFileError, match="cut short"):
        quantise(tmp_path / "cut.gguf", tmp_path / "x.gguf", "Q8_0")
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "no.gguf" / "home"))
    with pytest.raises(lk.ModelFileError, match="Q8_0 cannot be written in .*Set LABKIT_HOME"):
        made("Q8_0", f16)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(9, 8, 1))
    with pytest.raises(lk.ModelFileError, match="No room for Q8_0 in .*: 1 B free, 14\\d MB needed"):
        quantise(f16, tmp_path / "x.gguf", "Q8_0")
    assert not (tmp_path / "x.gguf").exists()
