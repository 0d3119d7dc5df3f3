"""Opens a file by what is in it, never by its name."""

from __future__ import annotations

import os

from torchgraft.errors import UnknownFormatError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.look_alikes import identify
from torchgraft.formats.safetensors import SAFETENSORS
from torchgraft.formats.torch_legacy import TORCH_LEGACY
from torchgraft.formats.torch_zip import TORCH_ZIP
from torchgraft.storage.local import MappedFile

__all__ = ["FORMATS", "read_container"]

FORMATS: tuple[Format, ...] = (TORCH_ZIP, SAFETENSORS, TORCH_LEGACY)
"""Every kind of container; the first that recognises a file reads it."""

_HEAD = 4096


def read_container(path: str | os.PathLike[str]) -> Container:
    """Open a file: its header is read, its tensors are not.

    Raises:
        UnknownFormatError: No container recognises it; the message says what it looks like instead.
        CheckpointError: It can't be read, contradicts itself, or is not to be trusted.
    """
    file = MappedFile(path)
    head = bytes(file.view(0, min(_HEAD, file.size)))
    for known in FORMATS:
        if known.recognise(head):
            return known.read(file)
    what, hint = identify(head)
    raise UnknownFormatError(f"this is {what}, not a checkpoint", where=str(file.path), hint=hint)
