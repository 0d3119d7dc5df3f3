"""Truncated and mutated files: refused by a `CheckpointError`, or read without any other error."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from torchgraft.errors import CheckpointError
from torchgraft.formats import read_container
from torchgraft.tensors import TensorRef

FORMATS = ["zip", "legacy", "safetensors"]
INTERESTING = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b".",
    b"R",
    b"b",
    b"(",
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x00" * 8,
]


def honest(kind: str, path: Path) -> bytes:
    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        "a": base[:12].clone().view(3, 4),
        "b": torch.ones(5, dtype=torch.bfloat16),
        "s": torch.tensor(3),
    }
    if kind == "safetensors":
        save_file(tensors, path, {"k": "v"})
    else:
        tree = {
            "model": tensors | {"t": base.view(4, 6).t()},
            "epoch": 3,
            "list": [1.5, (None, "x")],
            "set": {1},
        }
        torch.save(tree, path, _use_new_zipfile_serialization=kind == "zip")
    return path.read_bytes()


def read_all(path: Path, walk: Callable[[object], Iterator[object]]) -> bool:
    """Whether it opens; then every tensor in it can be read."""
    try:
        nodes = list(walk(read_container(path).tree))
    except CheckpointError as error:
        told = str(path) in str(error)
    else:
        assert all(node.read().shape == node.shape for node in nodes if isinstance(node, TensorRef))
        return True
    assert told, "the message names the file"
    return False


@pytest.mark.parametrize("kind", FORMATS)
def test_truncation_is_always_refused(
    kind: str, tmp_path: Path, walk: Callable[[object], Iterator[object]]
) -> None:
    path = tmp_path / "x"
    whole = honest(kind, path)
    assert read_all(path, walk)
    for keep in [*range(1, 200), *range(200, len(whole), 1 + len(whole) // 400), len(whole) - 1]:
        path.write_bytes(whole[:keep])
        assert not read_all(path, walk), f"the first {keep} of {len(whole)} bytes"


@pytest.mark.parametrize("kind", FORMATS)
def test_mutations_do_no_harm(kind: str, tmp_path: Path, walk: Callable[[object], Iterator[object]]) -> None:
    assert 0 < opened_after_mutation(kind, 400, 0, tmp_path / "x", walk) < 400


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_many_mutations_do_no_harm(
    kind: str, tmp_path: Path, walk: Callable[[object], Iterator[object]]
) -> None:
    assert 0 < opened_after_mutation(kind, 10_000, 1, tmp_path / "x", walk) < 10_000


def opened_after_mutation(
    kind: str, turns: int, seed: int, path: Path, walk: Callable[[object], Iterator[object]]
) -> int:
    """How many of so many mutated files still open; the others are refused as they should be."""
    whole = honest(kind, path)
    # Where the pickle or the header is: mutations of tensor data are of no interest.
    start, end = 0, len(whole)
    if kind == "zip":
        start, end = whole.index(b"\x80\x02"), whole.index(b"PK\x03\x04", 4)
    elif kind == "safetensors":
        end = 8 + int.from_bytes(whole[:8], "little")
    generator = random.Random(seed)
    opened = 0
    for turn in range(turns):
        data = bytearray(whole)
        low, high = (start, end) if turn % 4 else (0, len(whole))
        for _ in range(generator.choice([1, 1, 1, 2, 5])):
            at = generator.randrange(low, high)
            change = generator.choice(
                [*INTERESTING, generator.randbytes(1), bytes([data[at] ^ 1 << generator.randrange(8)])]
            )
            data[at : at + len(change)] = change
        path.write_bytes(data)
        opened += read_all(path, walk)
    return opened
