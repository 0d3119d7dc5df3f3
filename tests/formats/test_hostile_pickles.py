"""Pickles that try to run code or to exhaust the machine. Those that run code first do so in `pickle`."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corpus.hostile_pickles import BOMBS, CALLS, FOUR, LYING, ONE, laughs, tensor, text
from torchgraft.errors import CheckpointError, UnsafeCheckpointError
from torchgraft.formats import Placeholder, read_container
from torchgraft.formats.pickles import read_pickle
from torchgraft.tensors import TensorRef

Pack = Callable[..., Path]
Walk = Callable[[object], Iterator[object]]


@pytest.mark.parametrize("name", CALLS)
def test_code_is_never_run(name: str, tmp_path: Path, pack: Pack) -> None:
    canary = tmp_path / "canary"
    hostile = CALLS[name](canary)
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


def test_the_tensor_made_by_hand_is_one(pack: Pack) -> None:
    tree = read_container(pack(tensor(b"K\x00", FOUR + b"\x85", ONE + b"\x85"), {"0": bytes(16)})).tree
    assert isinstance(tree, TensorRef)
    assert tree.read().tolist() == [0.0] * 4


@pytest.mark.parametrize("name", LYING)
def test_tensors_must_lie_in_their_storage(name: str, pack: Pack) -> None:
    made, told = LYING[name]
    with pytest.raises(CheckpointError) as caught:
        read_container(pack(made, {"0": bytes(16)}))
    assert "made.pth" in str(caught.value)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, pack: Pack) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_container(pack(BOMBS[name][0], {"0": bytes(16)}))
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
