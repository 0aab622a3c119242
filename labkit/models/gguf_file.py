"""A GGUF file taken apart: what it says of itself, its tensors, and where its bytes go.

Only the header is read; weights are mapped when they are asked for. The file may be anything: every count and length
is checked against the file before it is believed, so a damaged one ends in a sentence. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""
from __future__ import annotations

import math
import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.errors import ModelFileError
from labkit.table import Shown, Table, size

VERSIONS = (2, 3)
# GGUF's numbers for the types of a value: how struct calls them.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9
DEEPEST = 4      # lists in lists
DIMENSIONS = 4   # of a tensor, at most: GGML_MAX_DIMS
SMALLEST_PAIR, SMALLEST_TENSOR = 13, 24  # bytes that a key and value, or a tensor's entry, take at least
ENDS, OTHER = "it ends within its header", "it does not begin with GGUF"
GROUPS = ("token table", "attention", "feed-forward", "norms", "other")


@dataclass(frozen=True)
class Tensor:
    """shape: as in the file, the length of a row first. begin: where its n_bytes start in the file."""

    name: str
    type: str
    shape: tuple[int, ...]
    begin: int
    n_bytes: int

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.n_bytes / self.parameters

    @property
    def group(self) -> str:
        """One of GROUPS."""
        if "norm" in self.name:
            return "norms"
        if self.name.startswith(("token_embd", "output")):
            return "token table"
        return "attention" if ".attn_" in self.name else "feed-forward" if ".ffn_" in self.name else "other"


@dataclass(frozen=True, repr=False)
class GgufFile(Shown):
    """metadata: every key with its value. header_bytes: up to where the first tensor may begin."""

    path: Path
    file_bytes: int
    version: int
    header_bytes: int
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def parameters(self) -> int:
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Of the tensors' bytes, the header left out."""
        return 8 * sum(tensor.n_bytes for tensor in self.tensors) / self.parameters

    @cached_property
    def by_name(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    def groups(self) -> dict[str, list[Tensor]]:
        """The tensors by what they are for; only groups that have some."""
        found = {group: [t for t in self.tensors if t.group == group] for group in GROUPS}
        return {group: tensors for group, tensors in found.items() if tensors}

    def raw(self, name: str):
        """A tensor's bytes as they lie in the file, mapped, not copied: uint8, (rows, bytes of a row)."""
        import numpy as np
        tensor = self.by_name[name]
        data = np.memmap(self.path, np.uint8, "r", tensor.begin, (tensor.n_bytes,))
        return data.reshape(math.prod(tensor.shape[1:]), -1)

    def weights(self, name: str):
        """A tensor's values: float32, (rows, length of a row)."""
        import gguf
        import numpy as np
        kind = gguf.GGMLQuantizationType[self.by_name[name].type]
        data = self.raw(name)
        if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            return data.view(np.float32 if kind.name == "F32" else np.float16).astype(np.float32)
        return gguf.quants.dequantize(data, kind)

    def table(self) -> Table:
        rows = [(group, str(len(tensors)), _types(tensors), f"{_parameters(tensors):,}", size(_bytes(tensors)),
                 f"{8 * _bytes(tensors) / _parameters(tensors):.2f}") for group, tensors in self.groups().items()]
        rest = self.file_bytes - _bytes(self.tensors)
        rows.append(("header, gaps", "", "", "", size(rest), ""))
        rows.append(("all", str(len(self.tensors)), "", f"{self.parameters:,}", size(self.file_bytes),
                     f"{self.bits_per_weight:.2f}"))
        return Table(("part", "tensors", "types", "weights", "bytes", "bits per weight"), tuple(rows),
                     title=f"{self.path.name}, GGUF version {self.version}, {len(self.metadata)} keys")

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.path.name, "file_bytes": self.file_bytes, "version": self.version,
                "header_bytes": self.header_bytes, "metadata": {k: _brief(v) for k, v in self.metadata.items()},
                "bits_per_weight": self.bits_per_weight, "tensors": [vars(tensor) for tensor in self.tensors]}


def read(path: str | Path) -> GgufFile:
    """The file's header. Raises ModelFileError for what is no GGUF file, a damaged one, or one of another version."""
    path = Path(path)
    try:
        return _read(path)
    except FileNotFoundError:
        raise ModelFileError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path.name} cannot be read as a GGUF file: {error}.") from error


def texts(path: str | Path) -> dict[str, str]:
    """What a GGUF says of itself in words, by key. Raises ValueError for another file or a damaged one."""
    with _mapped(path) as data:
        header = _Header(data)
        _, _, n_pairs = header.beginning()
        return {key: value for key, value in header.pairs(n_pairs) if isinstance(value, str)}


# -- the header ----------------------------------------------------------------------------


@contextmanager
def _mapped(path: str | Path) -> Iterator[mmap.mmap]:
    if not os.path.getsize(path):  # cannot be mapped
        raise ValueError(OTHER)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _read(path: Path) -> GgufFile:
    with _mapped(path) as data:
        header = _Header(data)
        version, n_tensors, n_pairs = header.beginning()
        metadata = dict(header.pairs(n_pairs))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"its alignment is {alignment!r}, no power of two")
        entries = [header.entry() for _ in range(n_tensors)]
        begin = -(-header.at // alignment) * alignment
    tensors = tuple(_tensor(*entry, begin, alignment, header.length) for entry in entries)
    if twice := [name for name, n in Counter(tensor.name for tensor in tensors).items() if n > 1]:
        raise ValueError(f"it has two tensors {twice[0]!r}")
    return GgufFile(path, header.length, version, begin, metadata, tensors)


class _Header:
    """Reads on from where it stands. Raises ValueError where the file ends or says what cannot be."""

    def __init__(self, data: mmap.mmap):
        self.data, self.length, self.at = data, len(data), 0

    def beginning(self) -> tuple[int, int, int]:
        """(version, number of tensors, number of keys)."""
        if self.exactly(4) != b"GGUF":
            raise ValueError(OTHER)
        [version] = self.take("I")
        if version & 0xFFFF == 0:
            raise ValueError("it was written for a big-endian processor")
        if version not in VERSIONS:
            raise ValueError(f"it is of version {version}, and this labkit reads {' and '.join(map(str, VERSIONS))}")
        n_tensors, n_pairs = self.take("QQ")
        self.room(n_tensors * SMALLEST_TENSOR + n_pairs * SMALLEST_PAIR, f"{n_tensors} tensors and {n_pairs} keys")
        return version, n_tensors, n_pairs

    def pairs(self, count: int) -> Iterator[tuple[str, Any]]:
        seen = set()
        for _ in range(count):
            key = self.text()
            if key in seen:
                raise ValueError(f"it has the key {key!r} twice")
            seen.add(key)
            yield key, self.value(*self.take("I"))

    def entry(self) -> tuple[str, tuple[int, ...], int, int]:
        """(name, shape, type's number, offset) of a tensor."""
        name = self.text()
        [n] = self.take("I")
        if not 1 <= n <= DIMENSIONS:
            raise ValueError(f"its tensor {name!r} has {n} dimensions")
        return name, self.take("Q" * n), *self.take("IQ")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == TEXT:
            return self.text()
        if kind in NUMBERS:
            return self.take(NUMBERS[kind])[0]
        if kind != LIST or depth == DEEPEST:
            raise ValueError(f"a value is of type {kind}, which does not exist" if kind != LIST else
                             f"it has lists in lists, more than {DEEPEST} deep")
        of, count = self.take("IQ")
        if of in NUMBERS:
            self.room(count * struct.calcsize(NUMBERS[of]), f"a list of {count} numbers")
            return list(self.take(f"{count}{NUMBERS[of]}"))
        self.room(count * 8, f"a list of {count} values")
        if of == TEXT:
            return self.texts(count)
        return [self.value(of, depth + 1) for _ in range(count)]

    def text(self) -> str:
        return self.texts(1)[0]

    def texts(self, count: int) -> list[str]:
        # A vocabulary has a hundred thousand of them: little is done for each.
        found, data, at, length_at = [], self.data, self.at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            begin = at + 8
            if begin > self.length:
                raise ValueError(ENDS)
            at = begin + length_at(data, at)[0]
            if at > self.length:
                self.at = begin
                self.room(at - begin, f"a text of {at - begin} bytes")
            found.append(data[begin:at].decode("utf-8", "replace"))
        self.at = at
        return found

    def take(self, form: str) -> tuple:
        form = f"<{form}"
        return struct.unpack(form, self.exactly(struct.calcsize(form)))

    def exactly(self, length: int) -> bytes:
        begin, self.at = self.at, self.at + length
        if self.at > self.length:
            raise ValueError(ENDS)
        return self.data[begin:self.at]

    def room(self, wanted: int, what: str) -> None:
        left = self.length - self.at
        if wanted > left:
            raise ValueError(f"it says that {what} follow, and only {left} bytes do")


def _tensor(name: str, shape: tuple[int, ...], number: int, offset: int, begin: int, alignment: int,
            length: int) -> Tensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise ValueError(f"its tensor {name!r} is of type {number}, which does not exist") from None
    in_block, block_bytes = GGML_QUANT_SIZES[kind]
    if not all(shape) or shape[0] % in_block:
        raise ValueError(f"its tensor {name!r} of {kind.name} has the shape {shape}, which no {kind.name} can have")
    n_bytes = math.prod(shape) // in_block * block_bytes
    if offset % alignment or begin + offset + n_bytes > length:
        raise ValueError(f"its tensor {name!r} does not lie within the file: it was cut short, or is damaged")
    return Tensor(name, kind.name, shape, begin + offset, n_bytes)


# -- how it is shown -----------------------------------------------------------------------


def _types(tensors) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in Counter(tensor.type for tensor in tensors).most_common())


def _parameters(tensors) -> int:
    return sum(tensor.parameters for tensor in tensors)


def _bytes(tensors) -> int:
    return sum(tensor.n_bytes for tensor in tensors)


def _brief(value: Any, most: int = 8) -> Any:
    if isinstance(value, list) and len(value) > most:
        return f"{len(value)} values, the first: {value[:3]}"
    return value if not isinstance(value, str) or len(value) <= 200 else f"{value[:199]}…"
