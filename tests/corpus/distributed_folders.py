"""Folders of torch.distributed.checkpoint, whose `.metadata` is a pickle that others really load."""

from __future__ import annotations

import functools
import itertools
import pickle
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import SerializationFormat, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from corpus.hostile_pickles import BOMBS, CALLS
from corpus.items import Bad, Inert, Item, Odd, Site, Values
from corpus.plain_pickles import Run
from corpus.zip_pickles import all_dtypes

CONV = MetadataIndex("model.0.weight", torch.Size([0, 0, 0, 0]))
Change = Callable[[Any], object]


def save(state: dict[str, Any], folder: Path, **how: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "assuming the intent is to save in a single process"
        dcp.save(state, **(how or {"checkpoint_id": folder}))
    return folder


@functools.cache
def honest() -> dict[str, bytes]:
    """The files of a checkpoint that may be spoilt."""
    model = {"0.weight": torch.arange(108.0).view(4, 3, 3, 3), "0.bias": torch.ones(4)}
    with tempfile.TemporaryDirectory() as place:
        folder = save({"model": model, "epoch": 3, "note": "x"}, Path(place) / "x")
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def copy(site: Site) -> Path:
    for name, content in honest().items():
        (site.folder / name).write_bytes(content)
    return site.folder


def spoilt(name: str, change: Change, *told: str) -> Bad:
    """With other metadata."""

    def write(site: Site) -> Path:
        path = copy(site) / ".metadata"
        metadata = pickle.loads(path.read_bytes())
        changed = change(metadata)
        path.write_bytes(pickle.dumps(metadata if changed is None else changed))
        return site.folder

    return Bad(f"dcp: {name}", write, told)


def broken(name: str, change: Callable[[Path], object], *told: str) -> Bad:
    """With other files."""

    def write(site: Site) -> Path:
        change(copy(site))
        return site.folder

    return Bad(f"dcp: {name}", write, told)


def info(index: MetadataIndex = CONV, **to: Any) -> Change:
    def change(metadata: Metadata) -> None:
        metadata.storage_data[index] = replace(metadata.storage_data[index], **to)

    return change


def tensor(**to: Any) -> Change:
    def change(metadata: Metadata) -> None:
        held = metadata.state_dict_metadata
        held["model.0.weight"] = replace(held["model.0.weight"], **to)

    return change


def chunk(offsets: Any, sizes: Any) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))


def pieces(*rows: int) -> Change:
    """Say that the convolution is in pieces, all where the whole is."""

    def change(metadata: Metadata) -> None:
        parts = list(itertools.pairwise(rows))
        tensor(chunks=[chunk((a, 0, 0, 0), (b - a, 3, 3, 3)) for a, b in parts])(metadata)
        place = metadata.storage_data.pop(CONV)
        for a, _ in parts:
            metadata.storage_data[MetadataIndex("model.0.weight", torch.Size([a, 0, 0, 0]))] = place

    return change


def echo(metadata: Metadata) -> None:
    """Many tensors share one long list of pieces."""
    many = replace(metadata.state_dict_metadata["model.0.weight"], chunks=[chunk((0,), (0,))] * 1000)
    metadata.state_dict_metadata.update({f"x{n}": many for n in range(1000)})


def drop(name: str) -> Change:
    def change(metadata: Metadata) -> None:
        for index in [index for index in metadata.storage_data if index.fqn == name]:
            del metadata.storage_data[index]

    return change


def swap(metadata: Metadata) -> None:
    """A value where a tensor should be."""
    metadata.storage_data[CONV] = metadata.storage_data.pop(MetadataIndex("epoch"))
    del metadata.state_dict_metadata["epoch"]


def overwrite(folder: Path) -> None:
    place = pickle.loads((folder / ".metadata").read_bytes()).storage_data[CONV]
    with (folder / place.relative_path).open("r+b") as file:
        file.seek(place.offset)
        file.write(b"\xde\xad\xbe\xef")


def cut(name: str, keep: float) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return change


def link(folder: Path) -> None:
    (folder / "__0_0.distcp").rename(folder.parent / "outside")
    (folder / "__0_0.distcp").symlink_to("../outside")


def link_metadata(folder: Path) -> None:
    (folder / ".metadata").rename(folder.parent / "outside")
    (folder / ".metadata").symlink_to("../outside")


def whole(name: str) -> Bad:
    """Metadata that is a call and nothing else."""

    def write(site: Site) -> Path:
        (copy(site) / ".metadata").write_bytes(CALLS[name](site.canary))
        return site.folder

    return Bad(f"dcp: {name} for .metadata", write, (".metadata", "not the metadata"))


def hidden(site: Site) -> Path:
    """Honest metadata with calls in places that nobody looks at."""
    folder = save({"w": torch.ones(4), "b": Run(f"touch '{site.canary}'")}, site.folder)
    path = folder / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    metadata.planner_data["x"] = Run(f"touch '{site.canary}'")
    metadata.storage_meta = Run(f"touch '{site.canary}'")
    path.write_bytes(pickle.dumps(metadata))
    return folder


def one_process(site: Site) -> tuple[Path, Values]:
    tensors = all_dtypes() | {
        "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3), "t": torch.arange(6.0).view(2, 3).t(),
        "view": torch.arange(100.0)[10:13],
    }  # fmt: skip
    del tensors["complex32"]  # PyTorch can't copy it
    save({"model": tensors, "epoch": 3, "list": [1, "x"]}, site.folder)
    theirs = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load({"model": theirs}, checkpoint_id=site.folder)
    return site.folder, theirs


def as_safetensors(site: Site) -> tuple[Path, Values]:
    tensors = {f"t{n}": torch.full((3, 2), float(n)) for n in range(5)}
    writer = dcp.FileSystemWriter(
        site.folder, serialization_format=SerializationFormat.SAFETENSORS, thread_count=2
    )
    save({"a": tensors, "n": 3}, site.folder, storage_writer=writer)
    return site.folder, tensors


def many(site: Site) -> tuple[Path, Values]:
    """Thousands of tensors that are all told to be in one safetensors file."""
    from safetensors.torch import save as packed

    tensors = {f"t{n}": torch.tensor([float(n)]) for n in range(4000)}
    (site.folder / "__0_0.distcp").write_bytes(packed(tensors))
    held = TensorStorageMetadata(TensorProperties(dtype=torch.float32), torch.Size([1]), [chunk((0,), (1,))])
    place = _StorageInfo("__0_0.distcp", 0, 4)
    metadata = Metadata(
        dict.fromkeys(tensors, held), storage_data={MetadataIndex(name, (0,)): place for name in tensors}
    )
    (site.folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return site.folder, tensors


def without_nesting(site: Site) -> tuple[Path, Values]:
    planner = dcp.DefaultSavePlanner(flatten_state_dict=False)
    save({"a.weight": torch.ones(2)}, site.folder, checkpoint_id=site.folder, planner=planner)
    return site.folder, {"a.weight": torch.ones(2)}


def in_pieces(site: Site) -> tuple[Path, Values]:
    """One tensor in four pieces of two files, as two ranks leave it."""
    from io import BytesIO

    tensor = torch.arange(40.0).view(8, 5)
    chunks, places = [], {}
    for rank in (0, 1):
        content = b""
        for part in (0, 1):
            begin = 4 * rank + 2 * part
            buffer = BytesIO()
            torch.save(tensor[begin : begin + 2].clone(), buffer)
            chunks.append(chunk((begin, 0), (2, 5)))
            places[MetadataIndex("w", torch.Size([begin, 0]))] = _StorageInfo(
                f"__{rank}_0.distcp", len(content), len(buffer.getvalue())
            )
            content += buffer.getvalue()
        (site.folder / f"__{rank}_0.distcp").write_bytes(content)
    held = TensorStorageMetadata(TensorProperties(dtype=torch.float32), torch.Size([8, 5]), chunks)
    (site.folder / ".metadata").write_bytes(pickle.dumps(Metadata({"w": held}, storage_data=places)))
    return site.folder, {"w": tensor}


BIG = 1 << 61
WEIGHT = "model.0.weight"
ITEMS: list[Item] = [
    Odd("dcp: of one process", one_process, None),
    Odd("dcp: as safetensors", as_safetensors, None),
    Odd("dcp: 4,000 tensors", many),
    Odd("dcp: without nesting", without_nesting),
    Odd("dcp: a tensor in four pieces of two ranks", in_pieces),
    *map(whole, ("os.system", "exec", "__setstate__ that is exec", "NEWOBJ_EX")),
    Inert("dcp: calls in corners of .metadata", hidden, "posix.system"),
    *(broken(f"bomb: {name}", lambda folder, name=name: (folder / ".metadata").write_bytes(BOMBS[name][0]),
             ".metadata", BOMBS[name][1])
      for name in ("marks", "arguments copied over and over", "a frame of 2⁶³ bytes")),
    spoilt("no metadata", lambda _: {"a": 1}, "not the metadata"),
    spoilt("no storage data", lambda m: replace(m, storage_data=None), "not the metadata"),
    spoilt("no tensors", lambda m: replace(m, state_dict_metadata=[]), "not the metadata"),
    spoilt("an absolute path", info(relative_path="/etc/passwd"), "leads out", "/etc/passwd"),
    spoilt("a path up", info(relative_path="../secret"), "leads out", "../secret"),
    spoilt("a path up and down", info(relative_path="x/../../secret"), "leads out"),
    spoilt("a missing file", info(relative_path="__7_0.distcp"), "__7_0.distcp"),
    spoilt("a path that is no text", info(relative_path=7), WEIGHT),
    spoilt("beyond the file", info(length=1 << 40), WEIGHT),
    spoilt("an offset beyond", info(offset=1 << 40), WEIGHT),
    spoilt("a negative offset", info(offset=-1), WEIGHT),
    spoilt("an enormous offset", info(offset=1 << 200), WEIGHT),
    spoilt("fewer bytes than it has", info(length=100), WEIGHT, "said to be in 100 bytes"),
    spoilt("another's bytes", info(MetadataIndex("note"), offset=0), "same bytes"),
    spoilt("nowhere", drop(WEIGHT), WEIGHT),
    spoilt("a value nowhere", drop("epoch"), "epoch"),
    spoilt("a long name", lambda m: m.state_dict_metadata.update({"n" * 5000: BytesStorageMetadata()}),
        "long"),
    spoilt("one list of pieces for many", echo, "over and over"),
    spoilt("a hole", tensor(size=torch.Size([5, 3, 3, 3])), WEIGHT, "108 of 135"),
    spoilt("outside", tensor(size=torch.Size([3, 3, 3, 3])), WEIGHT, "outside"),
    spoilt("a huge tensor", tensor(size=torch.Size([BIG, BIG, BIG])), WEIGHT, "impossible"),
    spoilt("no pieces", tensor(chunks=[]), WEIGHT, "0 of 108"),
    spoilt("pieces twice", tensor(chunks=[chunk((0, 0, 0, 0), (4, 3, 3, 3))] * 2), "same bytes"),
    spoilt("pieces in the same bytes", pieces(0, 1, 4), "same bytes"),
    spoilt("a size of texts", tensor(size=("4",)), WEIGHT),
    spoilt("a negative size", tensor(size=(-4, 3, 3, 3)), WEIGHT),
    spoilt("an unknown dtype", tensor(properties=TensorProperties(dtype=torch.quint4x2)), WEIGHT),
    spoilt("another dtype", tensor(properties=TensorProperties(dtype=torch.int32)), WEIGHT, "announced"),
    spoilt("a wider dtype", tensor(properties=TensorProperties(dtype=torch.complex128)), WEIGHT, "announced"),
    spoilt("another shape", tensor(
        size=torch.Size([3, 4, 3, 3]), chunks=[chunk((0, 0, 0, 0), (3, 4, 3, 3))]), WEIGHT, "announced"),
    spoilt("two at one place", lambda m: m.planner_data.update({"epoch": ("note",)}), "place of another"),
    spoilt("a value for a tensor", swap, WEIGHT, "no tensor"),
    broken("foreign bytes", overwrite, WEIGHT, "neither stored by torch.save"),
    broken("half of .metadata", cut(".metadata", 0.5), ".metadata"),
    broken("half of a file", cut("__0_0.distcp", 0.5), "__0_0.distcp"),
    broken("a missing rank", lambda folder: (folder / "__0_0.distcp").unlink(), "__0_0.distcp", "missing"),
    broken("a link out of the folder", link, "link", "__0_0.distcp"),
    broken("metadata that is a link out", link_metadata, "link", ".metadata"),
]  # fmt: skip
