"""`convert`: whatever can be opened becomes safetensors or a `.pth` file, tensor by tensor."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from torchgraft import checkpoint as checkpoints
from torchgraft.checkpoint import Checkpoint, OnBytes, counted, frugal
from torchgraft.errors import SaveError
from torchgraft.formats.safetensors import LAYOUTS_KEY
from torchgraft.saving.casting import PRECISIONS, cast
from torchgraft.saving.file_sizes import size_in_bytes
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.saving.targets import Kind, kind_of
from torchgraft.saving.torch_file import write_torch_file
from torchgraft.saving.weights_folder import WeightsFolder
from torchgraft.storage.atomic import atomic_file
from torchgraft.tensors import TensorRef

__all__ = ["convert"]

_log = logging.getLogger(__name__)


def convert(
    source: str | os.PathLike[str] | Checkpoint,
    target: str | os.PathLike[str],
    *,
    select: str | None = None,
    shard_size: int | str | None = None,
    dtype: str | None = None,
    verify: bool = True,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Write the weights of any checkpoint as safetensors or as a `.pth` file, whole or not at all.

    Names, shapes, dtypes and values stay as they are, in the same order. So do dimensions that are ordered
    in another library's way: a safetensors file says so in its header, and `torchgraft.open` gives them
    their `layout` back; a `.pth` file can't say so. Tied tensors are stored once in a `.pth` file, and once
    under each name in safetensors, which knows no ties. No more than some 300 MB are in memory at a time,
    unless the container itself gives a tensor only as a whole (compressed archives do), or it holds sparse
    or quantised tensors, which only a `.pth` file can take.

    Args:
        source: What `torchgraft.open` opens, or a checkpoint that is open.
        target: A file that ends in `.safetensors`, `.pth` or `.pt`; or a folder, for safetensors in one or
            several files with an index, as Hugging Face's libraries read them. A folder that holds other
            files is not touched.
        select: Which part of the file are the weights; see `torchgraft.open`.
        shard_size: How large a file in the folder may be, such as `"5GB"` or a number of bytes.
        dtype: `"float16"`, `"bfloat16"`, `"float32"` or `"float64"`: cast the floating-point tensors to it.
        verify: Check the source against its checksums; see `torchgraft.open`. A checkpoint that is open
            already stays as it was opened.
        on_bytes: Called with the bytes that have been read and those that there are, as it goes on.

    Returns:
        The file or folder written.

    Raises:
        CheckpointError: The source can't be read. Nothing was written.
        SaveError: Nothing was written, and what was there before still is.
        ValueError: `shard_size` or `dtype` is none.
    """
    path = Path(target)
    kind = kind_of(path)
    most = None if shard_size is None else size_in_bytes(shard_size)
    if dtype is not None and dtype not in PRECISIONS:
        raise ValueError(f"dtype={dtype!r} is none of {', '.join(PRECISIONS)}")
    if most is not None and kind is not Kind.FOLDER:
        raise SaveError("several files need a folder", where=str(path), hint="name a folder: out/")
    if isinstance(source, Checkpoint):
        opened = source if select is None else source.select(select)
    else:
        opened = checkpoints.open(source, select=select, verify=verify)
    tensors = dict(opened) if isinstance(source, Checkpoint) else frugal(opened)
    if on_bytes is not None:
        tensors = counted(tensors, on_bytes)
    if dtype is not None:
        tensors = {key: cast(ref, dtype) for key, ref in tensors.items()}
    if kind is Kind.TORCH:
        _warn_of_layouts(tensors, path)
        with atomic_file(path) as stream:
            write_torch_file(tensors, stream)
        return path
    metadata = _metadata(opened)
    if kind is Kind.SAFETENSORS:
        file = SafetensorsFile(tensors, metadata, where=str(path))
        with atomic_file(path) as stream:
            file.write(stream)
    else:
        WeightsFolder(tensors, metadata, most, where=str(path)).write(path, beside_others=False)
    return path


def _warn_of_layouts(tensors: Mapping[str, TensorRef], path: Path) -> None:
    if layouts := {ref.layout for ref in tensors.values() if ref.layout and not ref.is_sparse}:
        _log.warning(
            "%s: a .pth file can't say that dimensions are ordered as %s; safetensors can",
            path,
            ", ".join(sorted(layouts)),
        )


def _metadata(opened: Checkpoint) -> dict[str, str]:
    """What the source's own header says, if it is safetensors, and the tensors' layouts."""
    kept = opened.metadata if opened.format.startswith("safetensors") else {}
    texts = {key: value for key, value in kept.items() if isinstance(value, str) and key != LAYOUTS_KEY}
    layouts = {key: ref.layout for key, ref in opened.items() if ref.layout}
    return {"format": "pt", **texts, **({LAYOUTS_KEY: json.dumps(layouts)} if layouts else {})}
