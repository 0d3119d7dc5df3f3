"""Writes what `torch.save` would write of a state dict, tensor by tensor: it would need all of them at once.

The format is a zip archive of a pickle and one entry for each storage, as since PyTorch 1.6. Tied tensors
are written once.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO

import torch

from torchgraft.checkpoint import Checkpoint, at_hand
from torchgraft.saving.state_pickle import state_pickle
from torchgraft.saving.tensor_bytes import tensor_bytes
from torchgraft.storage.checksums import crc32
from torchgraft.tensors import TensorRef

__all__ = ["torch_save", "write_torch_file"]

_ROOT = "archive"
_ALIGNMENT = 64  # as torch.save does, so that a mapped storage begins where its elements may
_PADDING = 0x4246  # the extra field that torch.save pads with


def write_torch_file(tensors: Mapping[str, TensorRef], file: IO[bytes]) -> None:
    """Write a `.pth` file that `torch.load` reads as a dict of tensors, a few megabytes at a time.

    Where one of them is quantised or sparse, `torch.save` writes all, and all are in memory.

    Raises:
        SaveError, CheckpointError: A tensor can't be read.
    """
    if any(ref.is_sparse or ref.dtype.startswith("q") for ref in tensors.values()):
        torch_save(Checkpoint(tensors).state_dict(), file)
        return
    storages: dict[str, tuple[str, TensorRef]] = {}
    for key, ref in tensors.items():
        storages.setdefault(ref.alias or f"untied {key}", (str(len(storages)), ref))
    keys = {key: storages[ref.alias or f"untied {key}"][0] for key, ref in tensors.items()}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_entry("data.pkl"), state_pickle(tensors, keys))
        archive.writestr(_entry("byteorder"), "little")
        for number, ref in at_hand(storages.values()):
            entry = _entry(f"data/{number}")
            entry.file_size = ref.nbytes
            entry.extra = _pad(file.tell(), entry)
            _write_stored(archive, file, entry, ref)
        archive.writestr(_entry("version"), "3\n")


def torch_save(tensors: Mapping[str, torch.Tensor] | torch.nn.Module, file: IO[bytes]) -> None:
    """`torch.save`, with the disk's own words when it fails: torch hides them behind its own complaint."""
    try:
        torch.save(tensors, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{_ROOT}/{name}")  # with no date: the same tensors make the same file


def _write_stored(archive: zipfile.ZipFile, file: IO[bytes], entry: zipfile.ZipInfo, ref: TensorRef) -> None:
    """What `archive.open(entry, "w")` does, with the fastest checksum there is: that is a third of it all."""
    entry.header_offset = file.tell()
    entry.external_attr = 0o600 << 16
    entry.compress_size = entry.file_size
    file.write(entry.FileHeader(zip64=_is_large(entry)))
    checksum = 0
    for piece in tensor_bytes(ref):
        file.write(piece)
        checksum = crc32(piece, checksum)
    end = file.tell()
    entry.CRC = checksum
    file.seek(entry.header_offset)
    file.write(entry.FileHeader(zip64=_is_large(entry)))
    file.seek(end)
    archive.filelist.append(entry)
    archive.NameToInfo[entry.filename] = entry
    archive.start_dir = end


def _is_large(entry: zipfile.ZipInfo) -> bool:
    return entry.file_size > zipfile.ZIP64_LIMIT


def _pad(at: int, entry: zipfile.ZipInfo) -> bytes:
    """An extra field that makes the data of an entry whose header is at `at` begin at a multiple of 64."""
    entry.CRC = entry.compress_size = 0  # not known yet; of the same length as what will be
    header = entry.FileHeader(zip64=_is_large(entry))
    begin = at + len(header) + 4
    size = -begin % _ALIGNMENT
    return _PADDING.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)
