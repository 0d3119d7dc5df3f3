"""Pickles that try to run code or to exhaust the machine. Those that run code first do so in `pickle`."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError, UnsafeCheckpointError
from torchgraft.formats import Placeholder, read_container
from torchgraft.formats.pickles import read_pickle
from torchgraft.tensors import TensorRef

Pack = Callable[..., Path]
Walk = Callable[[object], Iterator[object]]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def touch(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


EXEC = b"c__builtin__\nexec\n"


def call(argument: str) -> bytes:
    """The arguments of a call, and the call."""
    return text(argument) + b"\x85R"


HOSTILE: dict[str, Callable[[Path], bytes]] = {
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


@pytest.mark.parametrize("name", HOSTILE)
def test_code_is_never_run(name: str, tmp_path: Path, pack: Pack) -> None:
    canary = tmp_path / "canary"
    hostile = HOSTILE[name](canary)
    with contextlib.suppress(Exception):  # what it returns after running may well make no sense
        getattr(pickle.loads(hostile), "close", int)()
    assert canary.exists()
    canary.unlink()
    with contextlib.suppress(CheckpointError):
        read_container(pack(hostile))
    assert not canary.exists()


@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_extension_codes_stand_for_nothing(code: bytes) -> None:
    tree, _ = read_pickle(b"\x80\x02" + code + text("x") + b"\x85R.", where="x")
    assert isinstance(tree, Placeholder)
    assert tree.args == ("x",)


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


def test_the_tensor_made_by_hand_is_one(pack: Pack) -> None:
    tree = read_container(pack(tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85"), {"0": bytes(16)})).tree
    assert isinstance(tree, TensorRef)
    assert tree.read().tolist() == [0.0] * 4


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(tensor(ONE, FOUR + b"\x85", ONE + b"\x85"), id="offset beyond"),
        pytest.param(tensor(MINUS, ONE + b"\x85", ONE + b"\x85"), id="offset negative"),
        pytest.param(tensor(b"K\x00", FIVE + b"\x85", ONE + b"\x85"), id="shape beyond"),
        pytest.param(tensor(b"K\x00", MINUS + b"\x85", ONE + b"\x85"), id="shape negative"),
        pytest.param(tensor(b"K\x00", TWO + b"\x85", FOUR + b"\x85"), id="stride beyond"),
        pytest.param(tensor(FOUR, TWO + b"\x85", MINUS + b"\x85"), id="stride negative"),
        pytest.param(tensor(b"K\x00", TWO + TWO + b"\x86", ONE + b"\x85"), id="fewer strides"),
        pytest.param(tensor(b"K\x00", HUGE + HUGE + b"\x86", b"K\x00K\x00\x86"), id="huge and expanded"),
        pytest.param(
            tensor(b"K\x00", HUGE + HUGE + b"K\x00\x87", ONE + ONE + ONE + b"\x87"), id="huge and empty"
        ),
        pytest.param(tensor(b"K\x00", b"\x88\x85", ONE + b"\x85"), id="shape a truth value"),
        pytest.param(tensor(b"K\x00", text("4") + b"\x85", ONE + b"\x85"), id="shape a text"),
        pytest.param(tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", numel=5), id="storage beyond its entry"),
        pytest.param(tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", numel=-4), id="storage negative"),
        pytest.param(
            tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", storage="DoubleStorage"), id="another width"
        ),
        pytest.param(
            tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85", storage="Nonsense"), id="no storage class"
        ),
        pytest.param(
            tensor(b"K\x00", b"K\x01" * 65 + b"t", b"").replace(b"K\x00K\x01", b"K\x00(K\x01", 1), id="65-d"
        ),
    ],
)
def test_tensors_must_lie_in_their_storage(made: bytes, pack: Pack) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_container(pack(made, {"0": bytes(16)}))
    assert "made.pth" in str(caught.value)
    assert len(str(caught.value)) < 2000


def laughs(levels: int = 60) -> bytes:
    """Lists that hold the list before them ten times: 10⁶⁰ items to whoever walks them as a tree."""
    made = b"]q\x00"
    for level in range(levels):
        made += b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"lq" + bytes([level + 1])
    return made


BOMBS: dict[str, bytes] = {
    "one list copied over and over": (
        b"\x80\x02](" + b"N" * 200_000 + b"eq\x00" + b"c__builtin__\nlist\nh\x00\x85R0" * 1000 + b"."
    ),
    "arguments copied over and over": (
        b"\x80\x04(" + b"N" * 200_000 + b"tq\x00" + b"cx\ny\nh\x00}Nh\x00s\x920" * 1000 + b"."
    ),
    "calls of calls copied over and over": (
        b"\x80\x04(" + b"N" * 200_000 + b"tq\x00cx\ny\n" + b"h\x00R" * 1000 + b"."
    ),
    "marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a text of 2⁶³ bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"abc.",
    "bytes of 2⁶³ bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**63) + b"abc.",
    "a number of 4 GB": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "a text of a megabyte for a number": b"F" + b"x" * 10**6 + b"\n.",
    "a negative length": b"\x80\x02\x8b\xff\xff\xff\xff\x01.",
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "a number of a million bytes": b"\x80\x02\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6 + b".",
    "a frame of 2⁶³ bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.",
    "a shape that is endless to print": laughs() + b"0" + tensor(b"K\x00", b"h\x3c\x85", ONE + b"\x85"),
    "a storage class that is endless to print": (
        laughs() + b"0(" + text("storage") + b"h\x3c" + text("0") + text("cpu") + FOUR + b"tQ."
    ),
    "__newobj__ of itself": b"\x80\x02ccopyreg\n__newobj__\nq\x00(" + b"h\x00" * 100_000 + b"tR.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, pack: Pack) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_container(pack(BOMBS[name], {"0": bytes(16)}))
    assert len(str(caught.value)) < 2000


def test_deep_and_shared_trees_can_be_held(pack: Pack, walk: Walk) -> None:
    """A tree of any depth and sharing is only as large as the file."""
    assert sum(1 for _ in walk(read_container(pack(laughs() + b".")).tree)) == 61
    deep = b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    assert sum(1 for _ in walk(read_container(pack(deep)).tree)) == 50_000


def test_large_memo_places_cost_nothing() -> None:
    tree, _ = read_pickle(b"\x80\x02Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.", where="x")
    assert tree is None


def test_keys_that_hash_by_content_alone_are_bounded(pack: Pack) -> None:
    """Whole numbers beyond 64 bits are congruent at will, so they are no keys."""
    modulus = 2**61 - 1
    keys = b"".join(b"\x8a\x0c" + (i * modulus + 2**70).to_bytes(12, "little") + b"N" for i in range(20_000))
    tree = read_container(pack(b"\x80\x02}(" + keys + b"u.")).tree
    assert isinstance(tree, dict)
    assert len(tree) == 20_000
    assert all(isinstance(key, Placeholder) for key in tree)


def test_a_pickle_that_inflates_without_end(pack: Pack) -> None:
    with pytest.raises(UnsafeCheckpointError, match="inflates"):
        read_container(pack(b"\x80\x02" + b"]0" * 20_000_000 + b"N.", compress=True))


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda opcode: opcode.name)
def test_opcodes_out_of_place_are_carried_out_or_refused(opcode: pickletools.OpcodeInfo) -> None:
    code = opcode.code.encode("latin-1")
    for before in (b"", b"(", b"}", b"N(N", b"(" + b"}" * 8, b"cx\ny\n", b"]]", b"NN"):
        for after in (b"", b"1\n" * 8, bytes(9), b"\xff" * 9):
            with contextlib.suppress(CheckpointError):
                read_pickle(b"\x80\x02" + before + code + after + b".", where="x")
