"""Opens a file or folder by what is in it, never by its name."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace

from torchgraft.errors import CheckpointError, UnknownFormatError
from torchgraft.formats.archives.zip_directory import is_zip, read_directory
from torchgraft.formats.container import Container, FolderFormat, Format, ZipFormat
from torchgraft.formats.folders.distributed import TORCH_DISTRIBUTED
from torchgraft.formats.folders.distributed_safetensors import DISTRIBUTED_SAFETENSORS
from torchgraft.formats.folders.shard_index import is_shard_index, read_shard_index
from torchgraft.formats.folders.shards import read_indexed_shards
from torchgraft.formats.folders.weights_folder import WEIGHTS_FOLDER
from torchgraft.formats.gguf.file import GGUF
from torchgraft.formats.gguf.split import is_split, read_split
from torchgraft.formats.keras.archive import KERAS_ZIP
from torchgraft.formats.keras.h5 import KERAS_H5
from torchgraft.formats.keras.shards import is_keras_index, read_keras_index, read_keras_shards
from torchgraft.formats.look_alikes import identify, identify_zip
from torchgraft.formats.numpy.npy import NPY
from torchgraft.formats.numpy.npz import NPZ
from torchgraft.formats.onnx.model import ONNX
from torchgraft.formats.safetensors import SAFETENSORS
from torchgraft.formats.torch.export_file import TORCH_EXPORT
from torchgraft.formats.torch.legacy_file import TORCH_LEGACY
from torchgraft.formats.torch.plain_pickle import PLAIN_PICKLE
from torchgraft.formats.torch.script_file import TORCHSCRIPT
from torchgraft.formats.torch.tar_file import TORCH_TAR
from torchgraft.formats.torch.zip_file import TORCH_ZIP
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.folder import Folder, at_once
from torchgraft.storage.local import MappedFile
from torchgraft.storage.local_folder import LocalFolder
from torchgraft.storage.remote import Opened

__all__ = ["FOLDER_FORMATS", "FORMATS", "ZIP_FORMATS", "read_container", "read_opened"]

FORMATS: tuple[Format, ...] = (SAFETENSORS, TORCH_LEGACY, TORCH_TAR, NPY, GGUF, ONNX, PLAIN_PICKLE, KERAS_H5)
"""Every kind of file; the first that recognises a file reads it."""

ZIP_FORMATS: tuple[ZipFormat, ...] = (KERAS_ZIP, TORCHSCRIPT, TORCH_EXPORT, TORCH_ZIP, NPZ)
"""Every kind of zip archive, likewise."""

FOLDER_FORMATS: tuple[FolderFormat, ...] = (TORCH_DISTRIBUTED, DISTRIBUTED_SAFETENSORS, WEIGHTS_FOLDER)
"""Every kind of folder, likewise."""

_HEAD = 4096
_LARGE = 1 << 26


def read_container(
    path: str | os.PathLike[str] | ByteFile, *, verify: bool = False, together: bool = False
) -> Container:
    """Open a file or a folder: its header is read, its tensors are not.

    Args:
        path: Of a file or folder on this machine; or an opened file, wherever it is.
        verify: Archives are held against their checksums when they are read. An opened file knows itself.
        together: Several checkpoints in one folder are no error, but all of them in one tree.

    Raises:
        UnknownFormatError: No container recognises it; the message says what it looks like instead.
        CheckpointError: It can't be read, contradicts itself, or is not to be trusted.
    """
    if not isinstance(path, (str, os.PathLike)):
        return _read_file(path)
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for some names that are none)
        folder = LocalFolder(path, verify=verify)
        return replace(_read_folder(folder, together=together), forget=folder.forget)
    file = MappedFile(path, verify=verify)
    beside: list[LocalFolder] = []  # is not listed unless it is asked for

    def open_folder() -> LocalFolder:
        beside.append(LocalFolder(file.path.parent, verify=verify))
        return beside[0]

    container = _read_with_others(file, file.path.name, open_folder)
    if file.size > _LARGE:
        file.forget()  # what lies around the entries' headers has come along with them

    def forget() -> None:
        file.forget()
        container.forget()
        for folder in beside:
            folder.forget()

    return replace(container, forget=forget)


def read_opened(opened: Opened, *, together: bool = False) -> Container:
    """Read what is at an address: a file, with others beside it if it needs them, or a folder.

    Args:
        opened: The file or folder.
        together: As for `read_container`.

    Raises:
        UnknownFormatError, CheckpointError: As for `read_container`.
        FetchError: What is there can't be had.
    """
    if opened.file is None:
        return _read_folder(opened.folder, together=together)
    return _read_with_others(opened.file, opened.name, lambda: opened.folder)


def _read_with_others(file: ByteFile, name: str, beside: Callable[[], Folder]) -> Container:
    """A file of this name in its folder; it may be the index or a part of a checkpoint in several files."""
    head = bytes(file.view(0, min(_HEAD, file.size)))
    if is_keras_index(head):
        return read_keras_shards(read_keras_index(file), beside(), name=file.name, path=file.path)
    if is_shard_index(head):
        index = read_shard_index(file)
        return read_indexed_shards(index, beside(), _read_file, name=file.name, path=file.path)
    for known in FOLDER_FORMATS:
        if known.key == name:
            return known.read(beside(), _read_file)
    container = _read_file(file)
    return read_split(container, name, beside, _read_file) if is_split(container) else container


def _read_file(file: ByteFile) -> Container:
    head = bytes(file.view(0, min(_HEAD, file.size)))
    if is_zip(head):
        return _read_zip(file)
    for known in FORMATS:
        if known.recognise(head):
            return known.read(file)
    what, hint = identify(head)
    raise UnknownFormatError(f"this is {what}, not a checkpoint", where=file.name, hint=hint)


def _read_zip(file: ByteFile) -> Container:
    entries = read_directory(file)
    # Storages have a number for a name, may be 100,000, and tell nothing.
    telling = dict.fromkeys(name for name in entries if not ("0" <= name[-1:] <= "9" and "/data/" in name))
    if alike := identify_zip(telling):
        raise UnknownFormatError(f"this is {alike[0]}", where=file.name, hint=alike[1])
    for known in ZIP_FORMATS:
        if known.recognise(telling):
            return known.read(file, entries)
    raise UnknownFormatError(
        "this is a zip archive without weights that are known", where=file.name, hint="look inside it"
    )


def _read_folder(folder: Folder, *, together: bool = False) -> Container:
    for known in FOLDER_FORMATS:
        if known.recognise(folder):
            read = known.read_together if together else None
            return (read or known.read)(folder, _read_file)
    names = sorted(folder.folders)[: 100 if folder.path else 16]
    with_weights = at_once(folder, names, lambda name: _is_known(folder.inner(name)))
    inside = list(itertools.compress(names, with_weights))
    shown = ", ".join(inside[:8])
    raise CheckpointError(
        "this is a folder without weights" + (f", but there are some in {shown}" if inside else ""),
        where=folder.name,
        hint=f"open one of those: {folder.path / inside[0] if folder.path else f'{folder.name}/{inside[0]}'}"
        if inside
        else "open a file of weights, or the folder that a save function wrote",
    )


def _is_known(folder: Folder) -> bool:
    return any(known.recognise(folder) for known in FOLDER_FORMATS)
