"""Pickles by hand: calls that would leave a canary, tensors that lie, and bombs."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "BOMBS", "CALLS", "FOUR", "LYING", "ONE", "call", "colliding_tuples", "dict_with", "doubled", "laughs",
    "number", "tensor", "text", "touch",
]  # fmt: skip


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def touch(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


EXEC = b"c__builtin__\nexec\n"


def call(argument: str) -> bytes:
    """The arguments of a call, and the call."""
    return text(argument) + b"\x85R"


CALLS: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda c: b"\x80\x02cposix\nsystem\n" + call(f"touch '{c}'") + b".",
    "exec": lambda c: b"\x80\x02" + EXEC + call(touch(c)) + b".",
    "eval by name on the stack": lambda c: (
        b"\x80\x04" + text("builtins") + text("eval") + b"\x93" + call(touch(c)) + b"."
    ),
    "open": lambda c: b"\x80\x02cio\nopen\n" + text(str(c)) + text("w") + b"\x86R.",
    "INST": lambda c: b"(S" + repr(touch(c)).encode() + b"\nibuiltins\nexec\n.",
    "OBJ": lambda c: b"(" + EXEC.replace(b"__builtin__", b"builtins") + text(touch(c)) + b"o.",
    "NEWOBJ_EX": lambda c: (
        b"\x80\x04cfunctools\npartial\ncbuiltins\nexec\n" + text(touch(c)) + b"\x86}\x92)R."
    ),
    "getattr chain": lambda c: (
        b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n"
        + call("os") + text("system") + b"\x86R" + call(f"touch '{c}'") + b"."
    ),
    "a dotted name": lambda c: (
        b"\x80\x04" + text("os") + text("path.os.system") + b"\x93" + call(f"touch '{c}'") + b"."
    ),
    "map in a tuple": lambda c: (
        b"\x80\x02c__builtin__\ntuple\nc__builtin__\nmap\n" + EXEC + b"]" + text(touch(c)) + b"a\x86R\x85R."
    ),
    "__setstate__ that is exec": lambda c: (
        b"\x80\x02ccodeop\nCompile\n)\x81}" + text("__setstate__") + EXEC + b"sb" + text(touch(c)) + b"b."
    ),
    "exec to rebuild a tensor": lambda c: (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(" + EXEC + b"c__builtin__\ndict\n"
        + text(touch(c)) + b"\x85NtR."
    ),
}  # fmt: skip
"""Each runs code in `pickle.loads`, which makes the file it is given the path of."""


def tensor(
    offset: bytes, shape: bytes, stride: bytes, numel: int = 4, storage: str = "FloatStorage"
) -> bytes:
    number = b"J" + struct.pack("<i", numel)
    identity = (
        b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text("0") + text("cpu") + number + b"tQ"
    )
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + identity
        + offset
        + shape
        + stride
        + b"\x89"
        + hooks
        + b"tR."
    )


ONE, TWO, FOUR, FIVE = b"K\x01", b"K\x02", b"K\x04", b"K\x05"
MINUS, HUGE = b"J\xff\xff\xff\xff", b"\x8a\x08" + struct.pack("<q", 2**61)

LYING: dict[str, tuple[bytes, str]] = {
    "offset beyond": (tensor(ONE, FOUR + b"\x85", ONE + b"\x85"), "exceeds its 16 bytes"),
    "offset negative": (tensor(MINUS, ONE + b"\x85", ONE + b"\x85"), "exceeds its 16 bytes"),
    "shape beyond": (tensor(b"K\x00", FIVE + b"\x85", ONE + b"\x85"), "exceeds its 16 bytes"),
    "shape negative": (tensor(b"K\x00", MINUS + b"\x85", ONE + b"\x85"), "impossible"),
    "stride beyond": (tensor(b"K\x00", TWO + b"\x85", FOUR + b"\x85"), "exceeds its 16 bytes"),
    "stride negative": (tensor(FOUR, TWO + b"\x85", MINUS + b"\x85"), "impossible"),
    "fewer strides": (tensor(b"K\x00", TWO + TWO + b"\x86", ONE + b"\x85"), "don't fit"),
    "huge and expanded": (tensor(b"K\x00", HUGE + HUGE + b"\x86", b"K\x00K\x00\x86"), "repeats a storage"),
    "huge and empty": (
        tensor(b"K\x00", HUGE + HUGE + b"K\x00\x87", ONE + ONE + ONE + b"\x87"), "impossible",
    ),
    "shape a truth value": (tensor(b"K\x00", b"\x88\x85", ONE + b"\x85"), "impossible"),
    "shape a text": (tensor(b"K\x00", text("4") + b"\x85", ONE + b"\x85"), "impossible"),
    "storage beyond its entry": (
        tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", numel=5), "needs 20 bytes and has 16",
    ),
    "storage negative": (tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", numel=-4), "no storage"),
    "another width": (
        tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", storage="DoubleStorage"), "needs 32 bytes and has 16",
    ),
    "a narrower dtype": (
        tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", storage="HalfStorage"), "needs 8 bytes and has 16",
    ),
    "no storage class": (tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", storage="Nonsense"), "Nonsense"),
    "65 dimensions": (
        tensor(b"K\x00", b"K\x01" * 65 + b"t", b"").replace(b"K\x00K\x01", b"K\x00(K\x01", 1), "damaged",
    ),
}  # fmt: skip
"""Tensors over a storage `0` of 16 bytes, and what is said of them."""


def laughs(levels: int = 60) -> bytes:
    """Lists that hold the list before them ten times: 10⁶⁰ items to whoever walks them as a tree."""
    made = b"]q\x00"
    for level in range(levels):
        made += b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"lq" + bytes([level + 1])
    return made


BOMBS: dict[str, tuple[bytes, str]] = {
    "one list copied over and over": (
        b"\x80\x02](" + b"N" * 200_000 + b"eq\x00" + b"c__builtin__\nlist\nh\x00\x85R0" * 1000 + b".",
        "over and over",
    ),
    "arguments copied over and over": (
        b"\x80\x04(" + b"N" * 200_000 + b"tq\x00" + b"cx\ny\nh\x00}Nh\x00s\x920" * 1000 + b".",
        "over and over",
    ),
    "calls of calls copied over and over": (
        b"\x80\x04(" + b"N" * 200_000 + b"tq\x00cx\ny\n" + b"h\x00R" * 1000 + b".",
        "over and over",
    ),
    "marks": (b"\x80\x02" + b"(" * 1_000_000 + b".", "nested 10,000 levels deep"),
    "a text of 4 GB": (b"\x80\x02X\xff\xff\xff\xffabc.", "damaged at byte"),
    "a text of 2⁶³ bytes": (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"abc.", "damaged at byte"),
    "bytes of 2⁶³ bytes": (b"\x80\x05\x96" + struct.pack("<Q", 2**63) + b"abc.", "damaged at byte"),
    "a number of 4 GB": (b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", "damaged at byte"),
    "a text of a megabyte for a number": (b"F" + b"x" * 10**6 + b"\n.", "damaged at byte"),
    "a negative length": (b"\x80\x02\x8b\xff\xff\xff\xff\x01.", "damaged at byte"),
    "a number of a million digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "damaged at byte"),
    "a number of a million bytes": (
        b"\x80\x02\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6 + b".",
        "damaged at byte",
    ),
    "a frame of 2⁶³ bytes": (b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.", "damaged at byte"),
    "a shape that is endless to print": (
        laughs() + b"0" + tensor(b"K\x00", b"h\x3c\x85", ONE + b"\x85"),
        "impossible",
    ),
    "a storage class that is endless to print": (
        laughs() + b"0(" + text("storage") + b"h\x3c" + text("0") + text("cpu") + FOUR + b"tQ.",
        "damaged at byte",
    ),
    "__newobj__ of itself": (
        b"\x80\x02ccopyreg\n__newobj__\nq\x00(" + b"h\x00" * 100_000 + b"tR.",
        "over and over",
    ),
}
"""Each would take gigabytes or hours; what is said of it."""


def dict_with(value: bytes, key: str = "w") -> bytes:
    """A dict of a tensor of four floats in storage `0`, and a value (a pickle of its own) as `x`."""
    ones = tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85")[2:-1]
    if value.startswith(b"\x80"):
        value = value[2:]
    return b"\x80\x04}" + text(key) + ones + b"s" + text("x") + value[:-1] + b"s."


def number(value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def colliding_tuples(count: int, length: int) -> bytes:
    """Tuples of -1 and -2, whose hashes are the same: so are those of all of these tuples."""
    parts = {-1: b"J\xff\xff\xff\xff", -2: b"J\xfe\xff\xff\xff"}
    picked = itertools.islice(itertools.product((-1, -2), repeat=length), count)
    return b"".join(b"(" + b"".join(map(parts.get, tuple_)) + b"tN" for tuple_ in picked)  # type: ignore[arg-type]


def doubled(levels: int) -> bytes:
    """A tuple of the tuple before it twice, and so on: 2ⁿ leaves to whoever hashes, compares or prints it."""
    return b")" + b"2\x86" * levels
