"""Opens a file or folder by what is in it, never by its name."""

from __future__ import annotations

import os
from pathlib import Path

from torchgraft.errors import CheckpointError, UnknownFormatError
from torchgraft.formats.container import Container, FolderFormat, Format, ZipFormat
from torchgraft.formats.look_alikes import identify, identify_zip
from torchgraft.formats.safetensors import SAFETENSORS
from torchgraft.formats.torch_legacy import TORCH_LEGACY
from torchgraft.formats.torch_zip import TORCH_ZIP
from torchgraft.formats.zip_directory import is_zip, read_directory
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.local import MappedFile

__all__ = ["FOLDER_FORMATS", "FORMATS", "ZIP_FORMATS", "read_container"]

FORMATS: tuple[Format, ...] = (SAFETENSORS, TORCH_LEGACY)
"""Every kind of file; the first that recognises a file reads it."""

ZIP_FORMATS: tuple[ZipFormat, ...] = (TORCH_ZIP,)
"""Every kind of zip archive, likewise."""

FOLDER_FORMATS: tuple[FolderFormat, ...] = ()
"""Every kind of folder, likewise."""

_HEAD = 4096


def read_container(path: str | os.PathLike[str]) -> Container:
    """Open a file or a folder: its header is read, its tensors are not.

    Raises:
        UnknownFormatError: No container recognises it; the message says what it looks like instead.
        CheckpointError: It can't be read, contradicts itself, or is not to be trusted.
    """
    if Path(path).is_dir():
        return _read_folder(Path(path))
    return _read_file(MappedFile(path))


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
    if alike := identify_zip(entries):
        raise UnknownFormatError(f"this is {alike[0]}", where=file.name, hint=alike[1])
    for known in ZIP_FORMATS:
        if known.recognise(entries):
            return known.read(file, entries)
    raise UnknownFormatError(
        "this is a zip archive without weights that are known", where=file.name, hint="look inside it"
    )


def _read_folder(folder: Path) -> Container:
    for known in FOLDER_FORMATS:
        if known.recognise(folder):
            return known.read(folder)
    inside = sorted(p.name for p in folder.iterdir() if p.suffix in {".safetensors", ".pth", ".pt", ".bin"})
    hint = f"open a file in it: {folder / inside[0]}" if inside else "open a file, not a folder"
    raise CheckpointError("this is a folder", where=str(folder), hint=hint)
