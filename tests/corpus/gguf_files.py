"""GGUF files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFEndian, GGUFWriter, quants

from corpus.items import Bad, Item, Odd, Site, Values, file

BIG = 1 << 60
LONG = struct.pack("<Q", BIG)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def row(name: str | bytes = "w", shape: Any = (2,), kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def pair(key: str | bytes = "k", kind: int = 4, value: bytes = bytes(4)) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def aligned(kind: int, value: bytes) -> bytes:
    return pair("general.alignment", kind, value)


def many(kind: int, count: int, value: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + value


def made(
    rows: list[bytes],
    keys: list[bytes] | None = None,
    body: bytes = bytes(8),
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A file by hand."""
    tensors, pairs = counts or (len(rows), len(keys or []))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + b"".join(keys or []) + b"".join(rows)
    return head + bytes(-len(head) % 32) + body


ONE = [row()]
WHOLE = made([row("u"), row("w", (2, 2), 0, 32)], [pair("a", 8, text("text")), pair("c")], bytes(48))
LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "endless keys": (made(ONE, counts=(1, BIG)), ("more than its bytes",)),
    "endless tensors": (made(ONE, counts=(BIG, 0)), ("more than its bytes",)),
    "a value of an unknown type": (made(ONE, [pair(kind=13)]), ("type 13",)),
    "an endless text": (made(ONE, [pair(kind=8, value=LONG)]), ("key 'k'",)),
    "endless texts": (made(ONE, [pair(kind=9, value=many(8, BIG))]), ("values",)),
    "endless numbers": (made(ONE, [pair(kind=9, value=many(4, BIG))]), ("values",)),
    "a list of an unknown type": (made(ONE, [pair(kind=9, value=many(13, 1))]), ("type 13",)),
    "deep lists": (made(ONE, [pair(kind=9, value=many(9, 1) * 1000)]), ("nested",)),
    "an endless text among many": (
        made(ONE, [pair(kind=9, value=many(8, 110, text("a") * 100 + LONG))]), ("ends within",),
    ),
    "a truth value of 2": (made(ONE, [pair(kind=7, value=b"\x02")]), ("neither true nor false",)),
    "a key twice": (made(ONE, [pair(), pair()]), ("'k'", "there twice")),
    "a key that is no text": (made(ONE, [pair(b"\xff\xfe")]), ("UTF-8",)),
    "no alignment": (made(ONE, [aligned(4, struct.pack("<I", 0))]), ("power",)),
    "an alignment of 24": (made(ONE, [aligned(4, struct.pack("<I", 24))]), ("power",)),
    "an alignment that is a text": (made(ONE, [aligned(8, text("32"))]), ("power",)),
    "a tensor twice": (made([row(), row()]), ("w", "there twice")),
    "a name that is no text": (made([row(b"\xff\xfe")]), ("UTF-8",)),
    "nine dimensions": (made([row(shape=(1,) * 9)]), ("'w'", "9 dimensions")),
    "endless dimensions": (made([text("w") + b"\xff" * 4]), ("dimensions",)),
    "too few bytes": (made([row(shape=(3,))]), ("x: w", "reach beyond")),
    "a huge shape": (made([row(shape=(1 << 62, 1 << 62))]), ("x: w", "reach beyond")),
    "huge and empty": (made([row(shape=(0, 1 << 63))]), ("x: w", "impossible")),
    "not aligned": (made([row(offset=4)]), ("x: w", "multiple of 32")),
    "far outside": (made([row(offset=BIG)]), ("x: w", "reach beyond")),
    "part of a block": (made([row(shape=(31,), kind=8)]), ("x: w", "blocks of 32")),
    "the same bytes twice": (made([row("a"), row("b")]), ("x: b", "overlaps")),
    "an overlap in part": (made([row("a", (16,)), row("b", (2,), 0, 32)], body=bytes(64)),
        ("x: b", "overlaps")),
    "a type of the future": (made([row("w", (4,), 99)], body=bytes(64)), ("x: w", "type 99")),
    "a type that only sums use": (made([row("w", (256,), 15)], body=bytes(292)), ("x: w", "Q8_K")),
    "version 1": (made(ONE, version=1), ("GGUF version",)),
    "version 77 of the other byte order": (made(ONE, version=77 << 24), ("GGUF version",)),
    "nothing after the magic number": (b"GGUF", ("4",)),
    "cut in its keys": (WHOLE[:50], ("x",)),
    "cut in its tensors": (WHOLE[:120], ("x",)),
    "cut in its values": (WHOLE[:-1], ("w", "reach beyond")),
    "400,000 keys": (made(ONE, [pair(f"{n:x}") for n in range(400_000)]), ("400,000 keys",)),
}  # fmt: skip


def written(name: str, fill: Callable[[GGUFWriter], object], wanted: Callable[[], Values], **how: Any) -> Odd:
    def write(site: Site) -> tuple[Any, Values]:
        path = site.folder / "x.gguf"
        writer = GGUFWriter(path, "llama", **how)
        fill(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path, wanted()

    return Odd(f"gguf: {name}", write)


PLAIN = ["f4", "f2", "f8", "i1", "i2", "i4", "i8"]


def plain() -> dict[str, np.ndarray[Any, Any]]:
    raw = np.random.default_rng(0).bytes(24 * 8)
    return {kind: np.frombuffer(raw, kind)[:24].reshape(2, 3, 4).copy() for kind in PLAIN}


def add(arrays: dict[str, np.ndarray[Any, Any]]) -> Callable[[GGUFWriter], None]:
    def fill(writer: GGUFWriter) -> None:
        for name, array in arrays.items():
            writer.add_tensor(name, array.copy())  # a big-endian writer swaps what it is given in place

    return fill


BLOCKS = [Type.Q4_0, Type.Q8_0, Type.Q4_K, Type.Q6_K, Type.BF16]


def blocks() -> dict[str, Any]:
    made = {}
    for kind in BLOCKS:
        elements, width = gguf.GGML_QUANT_SIZES[kind]
        raw = np.random.default_rng(int(kind)).bytes(3 * 512 // elements * width)
        made[kind.name] = np.frombuffer(raw, np.uint8).reshape(3, 512 // elements * width)
    return made


def add_blocks(writer: GGUFWriter) -> None:
    for name, raw in blocks().items():
        writer.add_tensor(name, raw, raw_dtype=Type[name])


def unpacked() -> dict[str, Any]:
    """As the package reads them; of bfloat16 the bits are kept."""
    import torch

    found: dict[str, Any] = {}
    with np.errstate(all="ignore"):
        for name, raw in blocks().items():
            if name == "BF16":
                found[name] = torch.frombuffer(bytearray(raw.tobytes()), dtype=torch.bfloat16).reshape(3, 512)
            else:
                found[name] = quants.dequantize(raw, Type[name])
    return found


def vocabulary(writer: GGUFWriter) -> None:
    writer.add_array("tokens", [f"token{n}" for n in range(50_000)])
    writer.add_array("nested", [[1, 2], [3]])
    writer.add_string("text", "wörd")
    add({"w": np.ones((2, 2), "f4")})(writer)


def lists(writer: GGUFWriter) -> None:
    writer.add_array("lists", [[1]] * 100_000)
    add({"w": np.ones((2, 2), "f4")})(writer)


def far_aligned(writer: GGUFWriter) -> None:
    writer.add_custom_alignment(4096)
    add(plain())(writer)


ITEMS: list[Item] = [
    written("plain types", add(plain()), plain),
    written("big-endian", add(plain()), plain, endianess=GGUFEndian.BIG),
    written("blocks", add_blocks, unpacked),
    written("a vocabulary of 50,000", vocabulary, lambda: {"w": np.ones((2, 2), "f4")}),
    written("100,000 lists in a list", lists, lambda: {"w": np.ones((2, 2), "f4")}),
    written("aligned to 4096", far_aligned, plain),
    Odd("gguf: version 2, a number, an empty one, a gap", lambda site: (
        site.write(made([row("s", (), 0, 64), row("e", (0, 3)), row("w")],
                        body=struct.pack("<2f", 1, 2) + bytes(56) + struct.pack("<f", 7), version=2)),
        {"s": np.float32(7).reshape(()), "e": np.empty((3, 0), "f4"), "w": np.array([1, 2], "f4")})),
    *(Bad(f"gguf: {name}", file(content), told) for name, (content, told) in LIES.items()),
]  # fmt: skip
