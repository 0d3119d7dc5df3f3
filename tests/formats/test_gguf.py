"""GGUF files: compared with the gguf package, and files that lie."""

from __future__ import annotations

import builtins
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFEndian, GGUFReader, GGUFWriter, quants

import torchgraft as tg
from torchgraft.errors import (
    CheckpointError,
    CorruptCheckpointError,
    MissingDependencyError,
    UnsafeCheckpointError,
)
from torchgraft.formats import read_container
from torchgraft.formats.gguf import cursor as gguf_cursor
from torchgraft.formats.gguf.file import GGUF
from torchgraft.formats.gguf.types import BLOCKS, PLAIN

PLAIN_DTYPES = [np.float32, np.float16, np.float64, np.int8, np.int16, np.int32, np.int64]
READABLE = sorted(kind for kind in quants._type_traits if kind in gguf.GGML_QUANT_SIZES and kind != Type.BF16)


def tree_of(path: Path) -> dict[str, Any]:
    container = read_container(path)
    assert container.format == "gguf"
    assert isinstance(container.tree, dict)
    return container.tree


def written(path: Path, fill: Callable[[GGUFWriter], object], **more: Any) -> Path:
    writer = GGUFWriter(path, "llama", **more)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def row(name: str | bytes = "w", shape: Any = (2,), kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def by_hand(
    path: Path,
    rows: list[bytes],
    keys: list[bytes] | None = None,
    body: bytes = bytes(8),
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> Path:
    tensors, pairs = counts or (len(rows), len(keys or []))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + b"".join(keys or []) + b"".join(rows)
    path.write_bytes(head + bytes(-len(head) % 32) + body)
    return path


def test_the_types_are_the_packages() -> None:
    theirs = {kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGML_QUANT_SIZES}
    known = BLOCKS.keys() & theirs.keys()  # releases of the package differ in the newest types
    assert len(known) > 20
    assert {code: BLOCKS[code] for code in known} == {code: theirs[code] for code in known}
    for code, dtype in PLAIN.items():
        assert theirs[code][1:] == (1, getattr(torch, dtype).itemsize)


@pytest.mark.parametrize("endian", [GGUFEndian.LITTLE, GGUFEndian.BIG], ids=["little", "big"])
def test_plain_types_and_shapes(endian: GGUFEndian, tmp_path: Path) -> None:
    arrays = {
        np.dtype(dtype).name: np.frombuffer(np.random.default_rng(0).bytes(24 * 8), dtype)[:24].reshape(
            2, 3, 4
        )
        for dtype in PLAIN_DTYPES
    } | {"vector": np.arange(5, dtype=np.float32)}

    def fill(writer: GGUFWriter) -> None:
        for name, array in arrays.items():
            writer.add_tensor(name, array.copy())  # a big-endian writer swaps what it is given in place

    path = written(tmp_path / "x.gguf", fill, endianess=endian)
    tree = tree_of(path)
    assert list(tree) == list(arrays)
    for name, array in arrays.items():
        ref = tree[name]
        assert (ref.name, ref.shape, ref.dtype) == (name, array.shape, array.dtype.name)
        assert ref.read().contiguous().numpy().tobytes() == array.tobytes()
        assert ref[1:, ...].contiguous().numpy().tobytes() == array[1:].tobytes()
    for tensor in GGUFReader(path).tensors:  # dimensions are given in PyTorch's order
        assert tree[tensor.name].shape == tuple(reversed(tensor.shape.tolist()))


def test_bfloat16(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 64), np.float32)
    raw = quants.quantize(values, Type.BF16)
    path = written(tmp_path / "x", lambda writer: writer.add_tensor("w", raw, raw_dtype=Type.BF16))
    ref = tree_of(path)["w"]
    assert (ref.dtype, ref.shape) == ("bfloat16", (3, 64))
    assert ref.read().float().numpy().tobytes() == quants.dequantize(raw, Type.BF16).tobytes()


INDICES: list[Any] = [
    ..., 0, -1, slice(1, 3), slice(0, 4, 2), (slice(None), 1), (slice(None), slice(None), slice(0, 512, 3)),
    (1, 2, 300), (slice(1, 2), None, slice(0, 3, 2), slice(250, 260)), (..., 7), (..., None), slice(0, 0),
    (slice(0, 4, 3), ..., slice(511, 512)), (0, slice(None), slice(5, 5)), None,
    (3, slice(2, 3), slice(1, None, 2)),
]  # fmt: skip


@pytest.mark.parametrize("kind", READABLE, ids=lambda kind: kind.name)
def test_blocks_become_what_the_package_makes_of_them(kind: Type, tmp_path: Path) -> None:
    elements, width = gguf.GGML_QUANT_SIZES[kind]
    raw = np.frombuffer(np.random.default_rng(int(kind)).bytes(4 * 3 * 512 // elements * width), np.uint8)
    raw = raw.reshape(4, 3, 512 // elements * width)
    path = written(tmp_path / "x.gguf", lambda writer: writer.add_tensor("w", raw, raw_dtype=kind))
    with np.errstate(all="ignore"):
        theirs = quants.dequantize(raw, kind)
    ref = tree_of(path)["w"]
    assert (ref.shape, ref.dtype) == ((4, 3, 512), "float32")
    for index in INDICES:
        ours, wanted = ref[index], theirs[index]
        assert tuple(ours.shape) == wanted.shape, index
        assert ours.contiguous().numpy().tobytes() == wanted.tobytes(), index
    stored = tg.open(path).metadata["stored as (read as float32)"]
    assert stored == {"w": kind.name}


@pytest.mark.parametrize("kind", [Type.Q8_0, Type.Q4_0], ids=lambda kind: kind.name)
def test_blocks_that_were_numbers(kind: Type, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    raw = quants.quantize(values, kind)
    path = written(tmp_path / "x", lambda writer: writer.add_tensor("w", raw, raw_dtype=kind))
    assert np.abs(tree_of(path)["w"].read().numpy() - values).max() < (0.02 if kind == Type.Q8_0 else 0.5)
    vector = quants.quantize(values[0], kind)
    path = written(tmp_path / "y", lambda writer: writer.add_tensor("v", vector, raw_dtype=kind))
    assert tree_of(path)["v"][5:9].numpy().tobytes() == quants.dequantize(vector, kind)[5:9].tobytes()


@pytest.mark.parametrize("endian", [GGUFEndian.LITTLE, GGUFEndian.BIG], ids=["little", "big"])
def test_metadata_is_plain(endian: GGUFEndian, tmp_path: Path) -> None:
    tokens = [f"token{n}" for n in range(1000)]

    def fill(writer: GGUFWriter) -> None:
        writer.add_uint8("u8", 200)
        writer.add_int8("i8", -3)
        writer.add_uint16("u16", 60_000)
        writer.add_int16("i16", -300)
        writer.add_uint32("u32", 4_000_000_000)
        writer.add_int32("i32", -70_000)
        writer.add_uint64("u64", 1 << 63)
        writer.add_int64("i64", -(1 << 40))
        writer.add_float32("f32", 0.5)
        writer.add_float64("f64", 0.1)
        writer.add_bool("yes", True)
        writer.add_string("text", "wörd")
        writer.add_array("numbers", [1, 2, 3])
        writer.add_array("words", ["a", "b"])
        writer.add_array("nested", [[1, 2], [3]])
        writer.add_array("tokens", tokens)
        writer.add_array("scores", [0.5] * 1000)
        writer.add_tensor("w", np.ones((2, 2), np.float32))

    metadata = tg.open(written(tmp_path / "x", fill, endianess=endian)).metadata
    assert metadata == {
        "general.architecture": "llama", "u8": 200, "i8": -3, "u16": 60_000, "i16": -300,
        "u32": 4_000_000_000, "i32": -70_000, "u64": 1 << 63, "i64": -(1 << 40), "f32": 0.5, "f64": 0.1,
        "yes": True,
        "text": "wörd",
        "numbers": [1, 2, 3], "words": ["a", "b"], "nested": [[1, 2], [3]],
        "tokens": {"type": "text", "count": 1000, "first": tokens[:8]},
        "scores": {"type": "float32", "count": 1000, "first": [0.5] * 8},
        "GGUF version": "3, big-endian" if endian == GGUFEndian.BIG else 3,
    }  # fmt: skip


@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_alignment(alignment: int, tmp_path: Path) -> None:
    def fill(writer: GGUFWriter) -> None:
        writer.add_custom_alignment(alignment)
        writer.add_tensor("a", np.arange(3, dtype=np.float32))
        writer.add_tensor("b", np.arange(5, dtype=np.int8))

    tree = tree_of(written(tmp_path / "x", fill))
    assert (tree["a"].read().tolist(), tree["b"].read().tolist()) == ([0, 1, 2], [0, 1, 2, 3, 4])


def test_version_2_scalars_empty_tensors_and_a_gap(tmp_path: Path) -> None:
    rows = [row("s", (), 0, 64), row("e", (0, 3), 0, 0), row("w", (2,), 0, 0)]
    body = struct.pack("<2f", 1, 2) + bytes(56) + struct.pack("<f", 7)
    tree = tree_of(by_hand(tmp_path / "x", rows, body=body, version=2))
    assert tree["s"].read().item() == 7
    assert tree["e"].read().shape == (3, 0)
    assert tree["w"].read().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("code", "shape", "size", "message"),
    [(15, (256,), 292, "Q8_K"), (99, (4,), 8, "type 99"), (38, (4,), 8, "type 38")],
)
def test_types_that_cannot_be_read_are_listed_and_told(
    code: int, shape: Any, size: int, message: str, tmp_path: Path
) -> None:
    path = by_hand(tmp_path / "x", [row("good", (2,), 0, 320), row("w", shape, code)], body=bytes(328))
    tree = tree_of(path)
    assert tree["good"].read().tolist() == [0, 0]
    assert tree["w"].shape == shape
    with pytest.raises(CheckpointError, match=message) as caught:
        tree["w"].read()
    assert caught.value.where == f"{path}: w"
    assert caught.value.hint


def test_blocks_in_a_big_endian_file_are_told(tmp_path: Path) -> None:
    raw = quants.quantize(np.ones((2, 32), np.float32), Type.Q8_0)
    path = written(
        tmp_path / "x",
        lambda writer: writer.add_tensor("w", raw, raw_dtype=Type.Q8_0),
        endianess=GGUFEndian.BIG,
    )
    ref = tree_of(path)["w"]
    with pytest.raises(CheckpointError, match="Q8_0 in a big-endian file"):
        ref.read()


def test_without_the_package_blocks_can_be_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = quants.quantize(np.ones((2, 32), np.float32), Type.Q8_0)
    path = written(tmp_path / "x", lambda writer: writer.add_tensor("w", raw, raw_dtype=Type.Q8_0))
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "gguf":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    ref = tree_of(path)["w"]
    with pytest.raises(MissingDependencyError, match="gguf") as caught:
        ref.read()
    assert caught.value.hint == "pip install 'torchgraft[gguf]'"


BIG = 1 << 60
LONG = struct.pack("<Q", BIG)


def pair(key: str | bytes = "k", kind: int = 4, value: bytes = bytes(4)) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def aligned(kind: int, value: bytes) -> bytes:
    return pair("general.alignment", kind, value)


def many(kind: int, count: int, value: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + value


@pytest.mark.parametrize(
    ("rows", "keys", "counts", "message"),
    [
        pytest.param([row()], [], (1, BIG), "more than its bytes", id="endless keys"),
        pytest.param([row()], [], (BIG, 0), "more than its bytes", id="endless tensors"),
        pytest.param([row()], [], (2, 0), "more than its bytes|w", id="a tensor too few"),
        pytest.param([row()], [pair(kind=13)], None, "type 13", id="unknown value"),
        pytest.param([row()], [pair(kind=8, value=LONG)], None, "key 'k'", id="endless text"),
        pytest.param([row()], [pair(kind=9, value=many(8, BIG))], None, "values", id="endless texts"),
        pytest.param([row()], [pair(kind=9, value=many(4, BIG))], None, "values", id="endless numbers"),
        pytest.param([row()], [pair(kind=9, value=many(13, 1))], None, "type 13", id="list of unknown"),
        pytest.param([row()], [pair(kind=9, value=many(9, 1) * 100)], None, "nested", id="deep lists"),
        pytest.param([row()], [pair(kind=9, value=many(9, BIG))], None, "values", id="endless lists"),
        pytest.param(
            [row()], [pair(kind=9, value=many(8, 110, text("a") * 100 + LONG))], None,
            "ends within", id="an endless text among many",
        ),
        pytest.param([row()], [pair(kind=7, value=b"\x02")], None, "neither true nor false", id="bool"),
        pytest.param([row()], [pair(), pair()], None, "there twice", id="a key twice"),
        pytest.param([row()], [pair(b"\xff\xfe")], None, "UTF-8", id="a key that is no text"),
        pytest.param([row()], [LONG], (0, 1), "a key", id="an endless key"),
        pytest.param([row()], [aligned(4, struct.pack("<I", 0))], None, "power", id="no alignment"),
        pytest.param([row()], [aligned(4, struct.pack("<I", 24))], None, "power", id="alignment"),
        pytest.param([row()], [aligned(8, text("32"))], None, "power", id="alignment a text"),
        pytest.param([row(), row()], [], None, "there twice", id="a tensor twice"),
        pytest.param([row(b"\xff\xfe")], [], None, "UTF-8", id="a name that is no text"),
        pytest.param([row(shape=(1,) * 9)], [], None, "9 dimensions", id="dimensions"),
        pytest.param([text("w") + b"\xff" * 4], [], None, "dimensions", id="endless dimensions"),
        pytest.param([row(shape=(3,))], [], None, "reach beyond", id="too few bytes"),
        pytest.param([row(shape=(1 << 62, 1 << 62))], [], None, "reach beyond", id="a huge shape"),
        pytest.param([row(shape=(0, 1 << 63))], [], None, "impossible", id="huge and empty"),
        pytest.param([row(shape=(0, 1 << 63), kind=8)], [], None, "impossible", id="huge and empty blocks"),
        pytest.param([row(offset=4)], [], None, "multiple of 32", id="not aligned"),
        pytest.param([row(offset=BIG)], [], None, "reach beyond", id="far outside"),
        pytest.param([row(shape=(31,), kind=8)], [], None, "blocks of 32", id="part of a block"),
        pytest.param([row(shape=(), kind=8)], [], None, "blocks of 32", id="a scalar in blocks"),
        pytest.param([row("a"), row("b")], [], None, "overlaps", id="the same bytes twice"),
    ],
)  # fmt: skip
def test_lies_are_refused(rows: Any, keys: Any, counts: Any, message: str, tmp_path: Path) -> None:
    path = by_hand(tmp_path / "x", rows, keys, counts=counts)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_container(path)
    assert str(caught.value.where).startswith(str(path))
    assert len(str(caught.value)) < 1000


def test_tensors_that_overlap_in_part(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "x", [row("a", (16,)), row("b", (2,), 0, 32)], body=bytes(64))
    with pytest.raises(UnsafeCheckpointError, match="overlaps") as caught:
        read_container(path)
    assert caught.value.where == f"{path}: b"


@pytest.mark.parametrize("version", [0, 1, 4, 1 << 16, 77 << 24])
def test_other_versions_are_told(version: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="GGUF version") as caught:
        read_container(by_hand(tmp_path / "x", [row()], version=version))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("limit", "keys", "message"),
    [
        ("_MAX_TEXTS", [pair(kind=9, value=many(8, 101, text("") * 101))], "100 texts"),
        ("_MAX_VALUES", [pair(f"{n}") for n in range(101)], "100 values"),
        ("_MAX_SHOWN_TEXT", [pair(f"{n}", 8, text("x" * 60)) for n in range(2)], "texts take more"),
    ],
)
def test_limits(
    limit: str, keys: list[bytes], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gguf_cursor, limit, 100)
    with pytest.raises(UnsafeCheckpointError, match=message):
        read_container(by_hand(tmp_path / "x", [row()], keys))


def test_long_texts_are_cut_and_bad_ones_mended(tmp_path: Path) -> None:
    keys = [pair("long", 8, text("x" * 100_000)), pair("bad", 8, text(b"a\xffb")), pair("after", 4)]
    metadata = tg.open(by_hand(tmp_path / "x", [row()], keys)).metadata
    assert metadata["long"] == "x" * 65536 + "…"
    assert metadata["bad"] == "a\ufffdb"
    assert metadata["after"] == 0


def test_truncation_is_always_refused(tmp_path: Path) -> None:
    keys = [pair("a", 8, text("text")), pair("b", 9, many(8, 70, text("token") * 70)), pair("c")]
    path = by_hand(tmp_path / "x", [row("u"), row("w", (2, 2), 0, 32)], keys, bytes(48))
    assert len(tree_of(path)) == 2
    whole = path.read_bytes()
    for keep in range(4, len(whole)):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=str(path)):
            read_container(path)


class Counted:
    """A file that counts what is read of it."""

    path = None
    read = 0

    def __init__(self, content: bytes) -> None:
        self.name, self.size, self.data, self._content = "counted", len(content), self, content
        self.views: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: slice) -> bytes:
        found = self._content[place]
        self.read += len(found)
        return found

    def view(self, offset: int, length: int) -> memoryview:
        self.views.append(length)
        return memoryview(bytearray(self._content[offset : offset + length]))


def test_a_slice_reads_and_unpacks_its_rows_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = quants.quantize(np.random.default_rng(0).random((1000, 256), np.float32), Type.Q8_0)
    path = written(tmp_path / "x", lambda writer: writer.add_tensor("w", raw, raw_dtype=Type.Q8_0))
    file = Counted(path.read_bytes())
    tree = GGUF.read(file).tree  # type: ignore[arg-type]
    assert file.read < 50_000
    assert isinstance(tree, dict)
    file.views.clear()
    unpacked: list[tuple[int, ...]] = []
    whole = quants.dequantize

    def counted(data: Any, kind: Type) -> Any:
        unpacked.append(data.shape)
        return whole(data, kind)

    monkeypatch.setattr(quants, "dequantize", counted)
    assert tree["w"][10:13, 5].tolist() == whole(raw[10:13], Type.Q8_0)[:, 5].tolist()
    assert file.views == [3 * 272]
    assert unpacked == [(3, 272)]
    assert tree["w"][0:900:300].shape == (3, 256)
    assert unpacked[-1] == (3, 272)


def test_a_vocabulary_is_passed_over(tmp_path: Path) -> None:
    count = 100_000
    tokens = pair("tokens", 9, many(8, count, b"".join(text(f"t{n}") for n in range(count))))
    metadata = tg.open(by_hand(tmp_path / "x", [row()], [tokens, pair("after", 4)])).metadata
    assert metadata["tokens"] == {"type": "text", "count": count, "first": [f"t{n}" for n in range(8)]}
    assert metadata["after"] == 0


def test_many_tensors(tmp_path: Path) -> None:
    rows = [row(f"w{n}", (2,), 0, 32 * n) for n in range(5000)]
    assert len(tree_of(by_hand(tmp_path / "x", rows, body=bytes(32 * 5000)))) == 5000


def test_opening_needs_neither_pytorch_nor_gguf(tmp_path: Path) -> None:
    raw = quants.quantize(np.ones((2, 32), np.float32), Type.Q8_0)
    path = written(tmp_path / "x", lambda writer: writer.add_tensor("w", raw, raw_dtype=Type.Q8_0))
    code = (
        "import sys; from torchgraft.formats import read_container; read_container("
        f"{str(path)!r}); assert not {{'torch', 'gguf', 'numpy'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_that_ends_after_its_magic(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"GGUF")
    with pytest.raises(CorruptCheckpointError, match=str(tmp_path / "x")):
        read_container(tmp_path / "x")
