"""`.metadata` that lies, shards that are not what it says, and code in it that must not run."""

from __future__ import annotations

import itertools
import os
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
)

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.tensors import TensorRef

# "assuming the intent is to save in a single process"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that may be spoilt."""
    model = {"0.weight": torch.arange(108.0).view(4, 3, 3, 3), "0.bias": torch.ones(4)}
    dcp.save({"model": model, "epoch": 3, "note": "x"}, checkpoint_id=tmp_path / "saved")
    return tmp_path / "saved"


def spoil(folder: Path, change: Callable[[Any], object]) -> None:
    path = folder / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    changed = change(metadata)
    path.write_bytes(pickle.dumps(metadata if changed is None else changed))


CONV = MetadataIndex("model.0.weight", torch.Size([0, 0, 0, 0]))


def set_info(index: MetadataIndex = CONV, **to: Any) -> Callable[[Any], None]:
    def change(metadata: Metadata) -> None:
        metadata.storage_data[index] = replace(metadata.storage_data[index], **to)

    return change


def set_tensor(**to: Any) -> Callable[[Any], None]:
    def change(metadata: Metadata) -> None:
        held = metadata.state_dict_metadata
        held["model.0.weight"] = replace(held["model.0.weight"], **to)

    return change


def chunk(offsets: Any, sizes: Any) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))


def cut_at(*rows: int) -> Callable[[Any], None]:
    """Say that the convolution is in pieces, all where the whole is."""

    def change(metadata: Metadata) -> None:
        pieces = list(itertools.pairwise(rows))
        set_tensor(chunks=[chunk((a, 0, 0, 0), (b - a, 3, 3, 3)) for a, b in pieces])(metadata)
        info = metadata.storage_data.pop(CONV)
        for a, _ in pieces:
            metadata.storage_data[MetadataIndex("model.0.weight", torch.Size([a, 0, 0, 0]))] = info

    return change


def echo(metadata: Metadata) -> None:
    """Let many tensors share one long list of pieces."""
    many = replace(metadata.state_dict_metadata["model.0.weight"], chunks=[chunk((0,), (0,))] * 1000)
    metadata.state_dict_metadata.update({f"x{n}": many for n in range(1000)})


def drop(name: str) -> Callable[[Any], None]:
    def change(metadata: Metadata) -> None:
        for index in [index for index in metadata.storage_data if index.fqn == name]:
            del metadata.storage_data[index]

    return change


BIG = 1 << 61
LIES: dict[str, tuple[Callable[[Any], object], str]] = {
    "no metadata": (lambda _: {"a": 1}, "not the metadata"),
    "a tensor as metadata": (lambda _: TensorProperties(), "not the metadata"),
    "no storage data": (lambda m: replace(m, storage_data=None), "not the metadata"),
    "no tensors": (lambda m: replace(m, state_dict_metadata=[]), "not the metadata"),
    "an absolute path": (set_info(relative_path="/etc/passwd"), "leads out"),
    "a path up": (set_info(relative_path="../secret"), "leads out"),
    "a path up and down": (set_info(relative_path="x/../../secret"), "leads out"),
    "a missing file": (set_info(relative_path="__7_0.distcp"), "__7_0.distcp"),
    "an empty path": (set_info(relative_path=""), "leads out"),
    "a path that is no text": (set_info(relative_path=7), "model.0.weight"),
    "beyond the file": (set_info(length=1 << 40), "model.0.weight"),
    "an offset beyond": (set_info(offset=1 << 40), "model.0.weight"),
    "a negative offset": (set_info(offset=-1), "model.0.weight"),
    "a negative length": (set_info(length=-1), "model.0.weight"),
    "an enormous offset": (set_info(offset=1 << 200), "model.0.weight"),
    "a fractional offset": (set_info(offset=0.5), "model.0.weight"),
    "fewer bytes than it has": (set_info(length=100), "said to be in 100 bytes"),
    "another's bytes": (set_info(MetadataIndex("note"), offset=0), "same bytes"),
    "nowhere": (drop("model.0.weight"), "model.0.weight"),
    "a value nowhere": (drop("epoch"), "epoch"),
    "a long name": (lambda m: m.state_dict_metadata.update({"n" * 5000: BytesStorageMetadata()}), "long"),
    "a long name of a place": (lambda m: m.storage_data.update({MetadataIndex("n" * 5000): 3}), "no name"),
    "a long path": (set_info(relative_path="x" * 5000), "model.0.weight"),
    "one list of pieces for many": (lambda m: echo(m), "over and over"),
    "a hole": (set_tensor(size=torch.Size([5, 3, 3, 3])), "108 of 135"),
    "outside": (set_tensor(size=torch.Size([3, 3, 3, 3])), "outside"),
    "other dimensions": (set_tensor(size=torch.Size([108])), "outside"),
    "a huge tensor": (set_tensor(size=torch.Size([BIG, BIG, BIG])), "impossible"),
    "a huge piece": (
        set_tensor(size=torch.Size([BIG // 4, 1, 1, 1]), chunks=[chunk((0, 0, 0, 0), (BIG // 4, 1, 1, 1))]),
        "model.0.weight",
    ),
    "no pieces": (set_tensor(chunks=[]), "0 of 108"),
    "pieces twice": (set_tensor(chunks=[chunk((0, 0, 0, 0), (4, 3, 3, 3))] * 2), "same bytes"),
    "pieces in the same bytes": (cut_at(0, 1, 4), "same bytes"),
    "pieces that are none": (set_tensor(chunks=[3]), "model.0.weight"),
    "pieces that are no list": (set_tensor(chunks=None), "model.0.weight"),
    "a size that is no shape": (set_tensor(size="4333"), "model.0.weight"),
    "a size of texts": (set_tensor(size=("4",)), "model.0.weight"),
    "a negative size": (set_tensor(size=(-4, 3, 3, 3)), "model.0.weight"),
    "no dtype": (set_tensor(properties=None), "model.0.weight"),
    "an unknown dtype": (set_tensor(properties=TensorProperties(dtype=torch.quint4x2)), "model.0.weight"),
    "an entry that is none": (lambda m: m.state_dict_metadata.update(x=3), "x"),
    "a number for a name": (lambda m: m.state_dict_metadata.update({3: BytesStorageMetadata()}), "no text"),
    "an unknown place": (lambda m: m.storage_data.update({"x": 3}), "no name"),
    "two at one place": (lambda m: m.planner_data.update({"epoch": ("note",)}), "place of another"),
    "one inside another": (lambda m: m.planner_data.update({"epoch": ("note", "x")}), "place of another"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(lie: str, folder: Path) -> None:
    change, told = LIES[lie]
    (folder.parent / "secret").write_bytes(b"secret")
    spoil(folder, change)
    with pytest.raises(CheckpointError) as caught:
        read_container(folder)
    assert told in str(caught.value)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_tensor(properties=TensorProperties(dtype=torch.int32)), "announced"),
        (set_tensor(properties=TensorProperties(dtype=torch.complex128)), "announced"),
        (set_info(relative_path=".metadata", offset=0, length=600), "neither"),
        (set_tensor(size=torch.Size([3, 4, 3, 3]), chunks=[chunk((0, 0, 0, 0), (3, 4, 3, 3))]), "announced"),
    ],
)
def test_what_shows_only_in_a_piece_is_told_when_it_is_read(change: Any, told: str, folder: Path) -> None:
    spoil(folder, change)
    with pytest.raises(CheckpointError) as caught:
        read_container(folder).tree["model"]["0.weight"].read()  # type: ignore[index]
    assert told in caught.value.what
    assert "model.0.weight" in str(caught.value.where)


def test_data_that_is_no_tensor_is_told(folder: Path) -> None:
    def change(metadata: Metadata) -> None:
        epoch = metadata.storage_data.pop(MetadataIndex("epoch"))
        metadata.storage_data[CONV] = epoch
        del metadata.state_dict_metadata["epoch"]

    spoil(folder, change)
    with pytest.raises(CheckpointError, match="no tensor"):
        read_container(folder).tree["model"]["0.weight"].read()  # type: ignore[index]


def test_foreign_bytes_are_told(folder: Path) -> None:
    info = pickle.loads((folder / ".metadata").read_bytes()).storage_data[CONV]
    with (folder / info.relative_path).open("r+b") as file:
        file.seek(info.offset)
        file.write(b"\xde\xad\xbe\xef")
    with pytest.raises(CorruptCheckpointError, match=r"neither stored by torch\.save") as caught:
        read_container(folder).tree["model"]["0.weight"].read()  # type: ignore[index]
    assert caught.value.where == f"{folder / info.relative_path}: model.0.weight"


def test_links_may_not_leave_the_folder(folder: Path) -> None:
    (folder / "__0_0.distcp").rename(folder.parent / "outside")
    (folder / "__0_0.distcp").symlink_to("../outside")
    with pytest.raises(UnsafeCheckpointError, match="link"):
        read_container(folder)


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def test_nothing_in_it_is_run(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    def hide(metadata: Any) -> None:
        metadata.planner_data["x"] = _Touch(canary)
        metadata.storage_meta = _Touch(canary)
        metadata.more = [_Touch(canary)]

    spoil_raw = pickle.loads((folder / ".metadata").read_bytes())
    hide(spoil_raw)
    (folder / ".metadata").write_bytes(pickle.dumps(spoil_raw))
    assert tg.open(folder, select="model")["0.bias"].read().shape == (4,)
    (folder / ".metadata").write_bytes(pickle.dumps(_Touch(canary)))
    with pytest.raises(CorruptCheckpointError, match="not the metadata"):
        read_container(folder)
    dcp.save({"a": torch.ones(1), "b": _Touch(canary)}, checkpoint_id=tmp_path / "x")
    assert tg.open(tmp_path / "x").classes
    assert not canary.exists()


def test_truncated_metadata_is_refused(folder: Path) -> None:
    path = folder / ".metadata"
    all_of_it = path.read_bytes()
    for keep in [*range(1, len(all_of_it), 97), len(all_of_it) - 1]:
        path.write_bytes(all_of_it[:keep])
        with pytest.raises(CheckpointError, match="metadata"):
            read_container(folder)


def test_truncated_shards_are_refused(folder: Path) -> None:
    path = folder / "__0_0.distcp"
    all_of_it = path.read_bytes()
    for keep in (1, 100, len(all_of_it) // 2, len(all_of_it) - 1):
        path.write_bytes(all_of_it[:keep])
        with pytest.raises(CheckpointError, match=r"__0_0\.distcp"):
            read_container(folder)


def test_an_old_name_of_the_module(folder: Path) -> None:
    path = folder / ".metadata"
    old = path.read_bytes().replace(b"\x8c\x25torch.distributed.checkpoint.metadata",
                                    b"\x8c\x2ctorch.distributed._shard.checkpoint.metadata")  # fmt: skip
    frame = old.index(b"\x95") + 1
    size = int.from_bytes(old[frame : frame + 8], "little") + len(old) - path.stat().st_size
    path.write_bytes(old[:frame] + size.to_bytes(8, "little") + old[frame + 8 :])
    assert len(tg.open(folder, select="model")) == 2


def tensors(node: object) -> Iterator[TensorRef]:
    if isinstance(node, TensorRef):
        yield node
    elif isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from tensors(child)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_mutations_do_no_harm(name: str, folder: Path) -> None:
    """Refused by a `CheckpointError` that names the folder, or read without any other error."""
    path = folder / name
    honest = path.read_bytes()
    rng = random.Random(7)
    opened = unnamed = 0
    for _ in range(300):
        spoilt = bytearray(honest)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(spoilt))
            spoilt[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        path.write_bytes(spoilt)
        try:
            assert all(ref.read().shape == ref.shape for ref in tensors(read_container(folder).tree))
            opened += 1
        except CheckpointError as error:
            unnamed += str(folder) not in str(error)
    assert opened < 300
    assert not unnamed
