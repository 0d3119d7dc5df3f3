"""NumPy's `.npy` and `.npz`."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from corpus.items import Bad, Item, Odd, Site, Values, file, zipped
from corpus.plain_pickles import KINDS, Run


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def by_hand(
    header: str | bytes, body: bytes = bytes(24), version: int = 1, length: int | None = None
) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    size = struct.pack("<H" if version == 1 else "<I", len(raw) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw + body


def said(descr: str = "'<f4'", order: str = "False", shape: str = "(6,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


ARRAY = npy(np.arange(6.0))
NPY_LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "too few bytes": (ARRAY[:-1], ("take 48 bytes, but 47",)),
    "too many bytes": (ARRAY + b"\0", ("take 48 bytes, but 49",)),
    "half a header": (ARRAY[:60], ("header",)),
    "nothing but the magic number": (ARRAY[:8], ("magic number",)),
    "another version": (b"\x93NUMPY\x09\x00" + ARRAY[8:], ("version 9.0",)),
    "a huge shape": (by_hand(said(shape=f"({2**61}, {2**61})")), ("bytes, but 24",)),
    "huge and empty": (by_hand(said(shape=f"({2**61}, {2**61}, 0)"), b""), ("impossible",)),
    "a negative shape": (by_hand(said(shape="(-6,)")), ("header",)),
    "a shape of truth values": (by_hand(said(shape="(True, 6)")), ("shape",)),
    "100 dimensions": (by_hand(said(shape=f"({'1, ' * 100})")), ("64",)),
    "a call in the header": (by_hand(said(shape="__import__('os').system('false')")), ("header",)),
    "a deep header": (by_hand("{'descr': " + "(" * 5000), ("header",)),
    "a header of 4 GB": (by_hand(said(), version=2, length=(1 << 32) - 1), ("4294967295 bytes long",)),
    "a number of a thousand digits": (by_hand(said(shape=f"({'9' * 1000},)")), ("header",)),
    "a key twice": (by_hand("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (6,)}"),
        ("twice",)),
    "a key more": (by_hand("{'x': 1, 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}"),
        ("not a dict",)),
    "an order that is none": (by_hand(said(order="0")), ("fortran_order",)),
    "an unknown dtype": (by_hand(said("'<q9'")), ("q9",)),
    "another width": (by_hand(said("'<f8'")), ("bytes, but 24",)),
    "records": (npy(np.zeros(2, [("a", "<f4")])), ("records",)),
    "two bytes of what": (npy(np.zeros(2, "V2")), ("bfloat16",)),
    "long doubles": (npy(np.zeros(2, "<f16")), ("f16",)),
}  # fmt: skip


def object_array(site: Site) -> Any:
    return site.write(npy(np.array([Run(f"touch '{site.canary}'")], dtype=object)))


def object_entry(deflated: bool) -> Callable[[Site], Any]:
    def write(site: Site) -> Any:
        hostile = npy(np.array(Run(f"touch '{site.canary}'"), dtype=object))
        return site.write(zipped({"w.npy": npy(np.ones(4, "f4")), "bad.npy": hostile}, deflated=deflated))

    return write


def one(name: str, array: Callable[[], Any]) -> Odd:
    """`tg.open` names a lone array `tensor`."""

    def write(site: Site) -> tuple[Any, Values]:
        path = site.write(npy(array()))
        return path, {"tensor": np.load(path)}

    return Odd(f"npy: {name}", write)


def several(name: str, arrays: Callable[[], dict[str, Any]], save: Any = np.savez) -> Odd:
    def write(site: Site) -> tuple[Any, Values]:
        path = site.folder / "x.npz"
        save(path, **arrays())
        with np.load(path) as theirs:
            return path, {key: theirs[key] for key in theirs if theirs[key].dtype.kind not in "US"}

    return Odd(f"npz: {name}", write)


def kinds() -> dict[str, Any]:
    base = np.random.default_rng(0).normal(size=(3, 4)) * 50
    made = {kind: base.astype(kind) for kind in KINDS}
    return made | {f">{kind}": array.astype(array.dtype.newbyteorder(">")) for kind, array in made.items()}


def flax() -> dict[str, Any]:
    return {
        "params/conv/kernel": np.arange(54, dtype="f4").reshape(3, 3, 2, 3),
            "params/conv/bias": np.ones(3, "f4"),
        "params/dense/kernel": np.asfortranarray(np.arange(6, dtype="f2").reshape(2, 3)), "step": np.int64(7),
        "classes": np.array(["cat", "dög"]),
    }  # fmt: skip


def entries(*, deflated: bool = False, **content: bytes) -> bytes:
    return zipped({name.replace("__", "."): data for name, data in content.items()}, deflated=deflated)


def longer() -> bytes:
    """The directory claims eight bytes more than there are."""
    content = npy(np.arange(500.0))
    data = bytearray(entries(deflated=True, a__npy=content))
    for at in (data.index(b"PK\x03\x04") + 22, data.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", data, at, len(content) + 8)
    return bytes(data)


def bomb(claimed: int, stored: int) -> bytes:
    """Zeros that deflate to little, under a header and a directory that claim more than there is."""
    header = by_hand(said("'|u1'", shape=f"({claimed},)"), b"")
    made = bytearray(entries(deflated=True, a__npy=header + bytes(stored)))
    total = len(header) + claimed
    for at in (made.index(b"PK\x03\x04") + 22, made.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", made, at, total)
    return bytes(made)


def damaged() -> bytes:
    data = bytearray(entries(deflated=True, a__npy=npy(np.random.default_rng(0).random(3000))))
    data[12_000] ^= 255
    return bytes(data)


NPZ_LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a short entry": (entries(a__npy=ARRAY[:-1]), ("a.npy", "bytes")),
    "a long entry": (entries(a__npy=ARRAY + b"\0"), ("a.npy", "bytes")),
    "half a header": (entries(a__npy=ARRAY[:60]), ("a.npy", "header")),
    "an empty entry": (entries(a__npy=b""), ("a.npy", "magic number")),
    "a short deflated entry": (entries(deflated=True, a__npy=ARRAY[:-1]), ("a.npy", "bytes")),
    "records": (entries(a__npy=npy(np.zeros(2, [("a", "<f4")]))), ("a.npy", "records")),
    "one name for two entries": (entries(a__npy=ARRAY, a=b"x"), ("another entry",)),
    "an entry twice": (zipped([("a.npy", ARRAY), ("a.npy", ARRAY)]), ("two entries are called 'a.npy'",)),
    "a directory that claims more": (longer(), ("a.npy",)),
    "a bomb": (bomb(100_000_000, 10_000_000), ("a.npy",)),
    "a bomb beyond deflate": (bomb(3_000_000_000, 2_000_000), ("claims to inflate",)),
    "a damaged deflated entry": (damaged(), ("a.npy",)),
    "half of it": (entries(a__npy=npy(np.arange(1000.0)))[:4000], ("truncated",)),
    "no numbers": (entries(a__npy=npy(np.array(["x"]))), ("no weights",)),
    "an entry by a path": (entries(**{"../a__npy": npy(np.array([None]))}), ("../a.npy", "pickle")),
}  # fmt: skip

ITEMS: list[Item] = [
    one("floats", lambda: np.array([[1.5, np.nan], [-0.0, np.inf]], "f4")),
    one("big-endian", lambda: np.arange(12, dtype=">i4").reshape(3, 4)),
    one("in Fortran's order", lambda: np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))),
    one("a number", lambda: np.float16(2.5)),
    one("an empty one", lambda: np.empty((0, 3), "f8")),
    Odd("npy: version 2", lambda site: (
        site.write(by_hand(said(), np.arange(6, dtype="f4").tobytes(), version=2)),
            {"tensor": np.arange(6, dtype="f4")})),
    Odd("npy: version 3 with Python 2's spelling", lambda site: (
        site.write(by_hand(said(shape="(6L,)"), np.arange(6, dtype="f4").tobytes(), version=3)),
        {"tensor": np.arange(6, dtype="f4")})),
    several("all dtypes, both orders", kinds),
    several("all dtypes, compressed", kinds, np.savez_compressed),
    several("Flax's names and texts", flax),
    several("a thousand to one", lambda: {"zeros": np.zeros(16 << 20, "u1"), "w": np.ones(3, "f4")},
            np.savez_compressed),
    several("3,000 entries", lambda: {f"layer/{n}": np.float32(n) for n in range(3000)}),
    *(Bad(f"npy: {name}", file(content), told) for name, (content, told) in NPY_LIES.items()),
    Bad("npy: objects that run", object_array, ("pickle",)),
    *(Bad(f"npz: {name}", file(content), told) for name, (content, told) in NPZ_LIES.items()),
    Bad("npz: objects that run", object_entry(False), ("bad.npy", "pickle")),
    Bad("npz: compressed objects that run", object_entry(True), ("bad.npy", "pickle")),
]  # fmt: skip
