"""The reader of GGUF headers against the gguf library's, and against files that are damaged in every way we know."""
from __future__ import annotations

import random
import struct

import gguf
import numpy as np
import pytest

import labkit as lk
from labkit.models import gguf_file
from labkit.models.embedded import wheel_file


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file of 800 bytes with a value of every kind, and three tensors."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for key, value, kind in (("u8", 3, "UINT8"), ("i16", -3, "INT16"), ("f32", 0.5, "FLOAT32"), ("yes", True, "BOOL"),
                             ("f64", 0.25, "FLOAT64"), ("u64", 2**40, "UINT64"), ("text", "Grüße", "STRING")):
        writer.add_key_value(f"test.{key}", value, gguf.GGUFValueType[kind])
    writer.add_array("test.words", ["a", "", "ç"])
    writer.add_array("test.numbers", [1, 2, 3])
    draw = np.random.default_rng(0)
    writer.add_tensor("token_embd.weight", draw.normal(size=(3, 8)).astype(np.float32))
    writer.add_tensor("blk.0.attn_norm.weight", draw.normal(size=8).astype(np.float16))
    packed = gguf.quants.quantize(draw.normal(size=(2, 64)).astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.ffn_up.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("which", ["small", "wheel"])
def test_it_reads_what_the_library_reads(which, small):
    path = small if which == "small" else wheel_file()
    mine, theirs = gguf_file.read(path), gguf.GGUFReader(path)
    fields = {name: field for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert mine.metadata.keys() == fields.keys() and mine.version == 3 and mine.header_bytes == theirs.data_offset
    short = [name for name, field in fields.items() if len(field.data) < 1000]
    assert {name: mine.metadata[name] for name in short} == {name: fields[name].contents() for name in short}
    assert [(t.name, t.type, t.shape, t.begin, t.n_bytes) for t in mine.tensors] == [
        (t.name, t.tensor_type.name, tuple(t.shape), t.data_offset, t.n_bytes) for t in theirs.tensors]
    for tensor in (mine.tensors[0], mine.tensors[-1]):
        theirs_too = next(t for t in theirs.tensors if t.name == tensor.name)
        assert np.array_equal(mine.weights(tensor.name).ravel(),
                              gguf.quants.dequantize(theirs_too.data, theirs_too.tensor_type).ravel())
        assert mine.raw(tensor.name).nbytes == tensor.n_bytes


def test_the_wheels_file_by_its_parts():
    file = gguf_file.read(wheel_file())
    assert file.parameters == 134_515_008 and 5 < file.bits_per_weight < 6
    assert list(file.groups()) == ["token table", "attention", "feed-forward", "norms"]
    assert sum(map(len, file.groups().values())) == len(file.tensors) == 272
    assert len(file.metadata["tokenizer.ggml.tokens"]) == 49152
    assert file.by_name["blk.0.attn_q.weight"].bits_per_weight == 5.0
    assert "210" not in str(file) and "Q4_1" in str(file) and "98.4 MB" in str(file)
    assert file.to_dict()["metadata"]["tokenizer.ggml.tokens"].startswith("49152 values")


HEAD = struct.Struct("<4sIQQ")


def with_pair(kind: int, value: bytes, key: bytes = b"k") -> bytes:
    return HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack(f"<Q{len(key)}sI", len(key), key, kind) + value


def with_tensor(shape: tuple[int, ...], kind: int, offset: int = 0, name: bytes = b"t", after: bytes = b"") -> bytes:
    return HEAD.pack(b"GGUF", 3, 1, 0) + struct.pack(
        f"<Q{len(name)}sI{len(shape)}QIQ", len(name), name, len(shape), *shape, kind, offset) + after


@pytest.mark.parametrize("content, said", [
    (b"", "does not begin with GGUF"), (b"PK\x03\x04" * 9, "does not begin with GGUF"),
    (b"GGUF", "ends within its header"),
    (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "big-endian"), (HEAD.pack(b"GGUF", 1, 0, 0), "of version 1"),
    (HEAD.pack(b"GGUF", 9, 0, 0), "of version 9, and this labkit reads 2 and 3"),
    (HEAD.pack(b"GGUF", 3, 2**61, 0), "2305843009213693952 tensors and 0 keys follow"),
    (HEAD.pack(b"GGUF", 3, 0, 2**63), "keys follow"),
    (with_pair(8, struct.pack("<Q", 2**62)), "a text of 4611686018427387904 bytes follow"),
    (with_pair(9, struct.pack("<IQ", 0, 2**62)), "a list of 4611686018427387904 numbers"),
    (with_pair(9, struct.pack("<IQ", 8, 2**62)), "a list of 4611686018427387904 values"),
    (with_pair(9, struct.pack("<IQ", 9, 1) * 50), "lists in lists"), (with_pair(77, b""), "type 77"),
    (with_pair(4, b"\0"), "ends within its header"),
    (with_pair(4, struct.pack("<I", 7), b"general.alignment"), "alignment is 7"),
    (with_tensor((8,), 4_000), "type 4000, which does not exist"),
    (with_tensor((8,) * 9, 0), "9 dimensions"), (with_tensor((), 0), "0 dimensions"),
    (with_tensor((8, 0), 0), "shape"), (with_tensor((33,), 8), "shape"),
    (with_tensor((2**63, 2**63), 0), "does not lie within the file"),
    (with_tensor((8,), 0), "does not lie within the file"),
    (with_tensor((8,), 0, offset=1, after=b"\0" * 900), "does not lie within the file"),
    (with_tensor((8,), 0, offset=2**63, after=b"\0" * 900), "does not lie within the file"),
])
def test_a_file_that_lies_is_refused_in_a_sentence(tmp_path, content, said):
    (tmp_path / "odd.gguf").write_bytes(content)
    with pytest.raises(lk.ModelFileError, match=f"odd.gguf cannot be read as a GGUF file: .*{said}"):
        gguf_file.read(tmp_path / "odd.gguf")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(lk.ModelFileError, match="There is no file .*absent.gguf"):
        gguf_file.read(tmp_path / "absent.gguf")


def test_cut_anywhere_it_is_refused(small, tmp_path):
    whole = small.read_bytes()
    for length in range(len(whole) - 40):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(lk.ModelFileError):
            gguf_file.read(tmp_path / "cut.gguf")


@pytest.mark.parametrize("seed", range(8))
def test_with_bytes_changed_it_is_read_or_refused(small, tmp_path, seed):
    rng, whole, refused = random.Random(seed), small.read_bytes(), 0
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        (tmp_path / "changed.gguf").write_bytes(changed)
        try:
            file = gguf_file.read(tmp_path / "changed.gguf")
            assert str(file) and file.to_dict() and all(file.raw(t.name).nbytes == t.n_bytes for t in file.tensors)
        except lk.ModelFileError:
            refused += 1
    assert 20 < refused < 150
