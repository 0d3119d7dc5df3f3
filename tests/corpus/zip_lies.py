"""`torch.save`'s zip archives that lie, run code or exhaust whoever reads them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import torch

from corpus.hostile_pickles import (
    BOMBS,
    CALLS,
    FOUR,
    LYING,
    ONE,
    colliding_tuples,
    dict_with,
    doubled,
    number,
    tensor,
    text,
)
from corpus.items import Bad, Inert, Item, file, zipped
from corpus.zip_pickles import ONES, all_dtypes, pack, remade, saved

COLLISIONS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "large whole numbers": (
        b"}(" + b"".join(number(n * (2**61 - 1) + 2**70) + b"N" for n in range(40_000)) + b"u.",
        ("no weights",),
    ),
    "tuples of numbers": (b"}(" + colliding_tuples(20_000, 15) + b"u.", ("no weights",)),
    "tuples of numbers and a text": (
        b"}(" + colliding_tuples(20_000, 15).replace(b"(", b"(\x8c\x01a") + b"u.", ("no weights",),
    ),
    "a set of tuples": (
        b"c__builtin__\nset\n](" + colliding_tuples(20_000, 15).replace(b"tN", b"t") + b"e\x85R.",
            ("no weights",),
    ),
    "a tuple that doubles": (b"}" + doubled(200) + b"Ns.", ("no weights",)),
    "tuples that double, compared": (b"}" + doubled(60) + b"Ns" + doubled(60) + b"Ns.", ("no weights",)),
    "a set of what doubles": (b"\x8f(" + doubled(200) + doubled(200) + b"\x90.", ("no weights",)),
    "named tuples that double": (
        b"cx\nPoint\n" + doubled(200) + b"\x85R" + b"}" + doubled(100) + b"Nsb.", ("no weights",),
    ),
}  # fmt: skip


def put(place: int, layout: str, value: int, made: bytes) -> bytes:
    """The archive with a number put in the second entry's own header, or (+ 1000) its directory record."""
    data = bytearray(made)
    local = data.index(b"PK\x03\x04", 4)
    central = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into(layout, data, (central if place >= 1000 else local) + place % 1000, value)
    return bytes(data)


GOOD = pack(dict_with(b"N."), {"0": ONES, "1": bytes(8)})
# Places in the records are those of PKWARE's APPNOTE 4.3.7 (local) and 4.3.12 (directory, + 1000 here).
RECORDS: dict[str, tuple[int, str, int, str]] = {
    "no local header": (0, "<L", 0, "not what the directory says"),
    "another method": (8, "<H", 8, "not what the directory says"),
    "another stored size": (18, "<L", 1, "not what the directory says"),
    "another name": (30, "<B", 0x58, "not what the directory says"),
    "data beyond the end": (28, "<H", 60_000, "not what the directory says"),
    "no directory record": (1000, "<L", 0, "directory record is damaged"),
    "encrypted": (1008, "<H", 1, "encrypted"),
    "LZMA": (1010, "<H", 14, "uncommon way"),
    "stored beyond the end": (1020, "<L", 1 << 31, "lies outside"),
    "a size of its own": (1024, "<L", 1 << 31, "another size"),
    "a name beyond the end": (1028, "<H", 60_000, "directory record is damaged"),
    "another volume": (1034, "<H", 1, "made/version"),
    "an offset beyond the end": (1042, "<L", 1 << 31, "lies outside"),
    "an offset of another entry": (1042, "<L", 0, "overlaps"),
    "a name that is no text": (1046, "<B", 0xFF, "utf-8"),
}


def tensors(count: int) -> bytes:
    """The same call of the function that makes a tensor, five bytes each."""
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    one = tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85")[2:-2].replace(function, function + b"q\x00")
    return b"\x80\x02" + one + b"q\x01R0](" + b"h\x00h\x01R" * count + b"e."


FLOODS: dict[str, tuple[bytes, str]] = {
    "lists": (b"]" * 500_000, "breaks off"),
    "sets": (b"\x80\x04(" + b"\x8f" * 500_000 + b"t.", "far more sets"),
    "tensors": (tensors(100_000), "far more tensors"),
    "tuples": (b"\x80\x04](" + b")\x85" * 80_000 + b"e.", "no weights"),
    "nested tuples": (b"\x80\x04)" + b"\x85" * 500_000 + b".", "no weights"),
    "dicts": (b"\x80\x02](" + b"}NNs" * 60_000 + b"e.", "no weights"),
    "objects": (b"\x80\x04cx\ny\nq\x00)q\x01](" + b"h\x00h\x01R" * 60_000 + b"e.", "no weights"),
}
"""Pickles of up to half a megabyte that deflate to a kilobyte or two, and what is said of them."""


def inflating(size: int) -> bytes:
    """A deflated storage that claims to be larger than deflate can make it."""
    made = bytearray(pack(dict_with(b"N."), {"0": bytes(10_000)}, deflated=True))
    central = made.rindex(b"PK\x01\x02")
    local = struct.unpack_from("<L", made, central + 42)[0]
    struct.pack_into("<L", made, central + 24, size)
    struct.pack_into("<L", made, local + 22, size)
    return bytes(made)


def deflated_storage(change: Callable[[bytearray], object]) -> bytes:
    """A deflated archive of a tensor `a`, whose stored bytes are damaged."""
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    made = remade(saved({"a": values}), lambda _, data: data, deflated=True)
    data = bytearray(made)
    change(data)
    return bytes(data)


def cut(archive: bytes, keep: float) -> bytes:
    return archive[: int(len(archive) * keep)]


def random_bytes(count: int) -> bytes:
    return random.Random(0).randbytes(count)


TWICE = [("made/data.pkl", dict_with(b"N.")), ("made/data/0", ONES), ("made/data/0", bytes(16))]
ITEMS: list[Item] = [
    *(Bad(f"zip: {name} alone", lambda site, make=make: site.write(pack(make(site.canary))),
          ("a Placeholder has no items" if name == "map in a tuple" else "no weights",))
      for name, make in CALLS.items()),
    *(Bad(f"zip: {name}", file(pack(made, {"0": bytes(16)})), ("made/data", told))
      for name, (made, told) in LYING.items()),
    *(Bad(f"zip: bomb: {name}", file(pack(made, {"0": bytes(16)})), ("made/data", told))
      for name, (made, told) in BOMBS.items()),
    *(Bad(f"zip: keys that collide: {name}", file(pack(b"\x80\x04" + made)), told)
      for name, (made, told) in COLLISIONS.items()),
    *(Bad(f"zip: record: {name}", file(put(place, layout, value, GOOD)), (told,))
      for name, (place, layout, value, told) in RECORDS.items()),
    *(Bad(f"zip: cut at {keep:.0%}", file(cut(saved(all_dtypes()), keep)), ("truncated",))
      for keep in (0.01, 0.5, 0.9, 0.99)),
    Bad("zip: an entry twice", file(zipped(TWICE)), ("two entries are called", "made/data/0")),
    Bad("zip: a pickle twice", file(zipped([TWICE[0], *TWICE[:2]])), ("two entries are called", "data.pkl")),
    Bad("zip: two folders", file(zipped({"a/data.pkl": b"N.", "b/data.pkl": b"N."})), ("2 data.pkl",)),
    Bad("zip: a missing storage", file(pack(dict_with(b"N."))),
        ("made/data.pkl", "'0' is not in the archive")),
    Bad("zip: a storage by a path", file(pack(dict_with(b"N.").replace(text("0"), text("../../secret")))),
        ("made/data.pkl", "secret' is not in the archive")),
    Bad("zip: one storage of two dtypes", file(pack(
        b"\x80\x02}" + text("a") + tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85")[2:-1] + b"s" + text("b")
        + tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", storage="IntStorage")[2:-1] + b"s.", {"0": ONES})),
        ("'0' is described in two ways",)),
    Bad("zip: a pickle that inflates without end",
        file(pack(b"\x80\x02" + b"]0" * 12_000_000 + b"N.", deflated=True)), ("inflates",)),
    *(Bad(f"zip: a deflated flood of {name}", file(pack(made, {"0": ONES}, deflated=True)), (told,))
      for name, (made, told) in FLOODS.items()),
    Bad("zip: a deflated flood beside noise", file(pack(
        b"\x80\x03B" + struct.pack("<I", 200_000) + random_bytes(200_000) + b"]" * 12_000_000,
            deflated=True)),
        ("inflates",)),
    Bad("zip: a flood of opcodes", file(pack(b"\x80\x02" + b"N0" * 1_000_000 + b"N.")), ("no weights",)),
    Bad("zip: a storage that claims to inflate", file(inflating(1 << 31)),
        ("claims to inflate", "made/data/0")),
    Bad("zip: a storage that inflates to less", file(inflating(10_004)), ("10004",)),
    Bad("zip: a deflated storage, damaged",
        file(deflated_storage(lambda d: d.__setitem__(8000, d[8000] ^ 255))),
        ("data/0",)),
    Bad("zip: another byte order", file(pack(dict_with(b"N."), {"0": ONES}, byteorder=b"middle")),
        ("byteorder", "middle")),
    Bad("zip: a pickle that is damaged", file(GOOD.replace(b"OrderedDict", b"OrderedDirt")), ("checksum",)),
    Bad("zip: no pickle, but storages", file(zipped({"made/data/0": ONES, "made/version": b"3"})),
        ("data.pkl",)),
    Bad("zip: noise", file(b"PK\x03\x04" + random_bytes(5000)), ("truncated or damaged",)),
    Bad("zip: an empty archive", file(zipped({})), ("zip archive",)),
    Bad("zip: a note longer than the file", file(GOOD[:-2] + b"\xff\xff"), ("truncated or damaged",)),
    *(Inert(f"zip: {name} beside weights",
            lambda site, make=make: site.write(pack(dict_with(make(site.canary)), {"0": ONES})), shown)
      for name, make, shown in (
          ("os.system", CALLS["os.system"], "posix.system"), ("exec", CALLS["exec"], "builtins.exec"),
          ("eval", CALLS["eval by name on the stack"], "builtins.eval"), ("open", CALLS["open"], "io.open"),
          ("getattr", CALLS["getattr chain"], "builtins.getattr"),
          ("__setstate__", CALLS["__setstate__ that is exec"], "codeop.Compile"))),
]  # fmt: skip
