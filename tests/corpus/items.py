"""What the corpus is made of: bad files with what their refusal says, and odd but legitimate ones."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Bad", "Inert", "Item", "Odd", "Site", "Values", "file", "zipped"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an item is made.

    Attributes:
        folder: The only folder that may be read when it is opened.
        canary: What a payload would make if it ran. Nothing is there.
        secret: A file beside the folder, which may not be read.
    """

    folder: Path
    canary: Path
    secret: Path

    def write(self, content: bytes, name: str = "x") -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(content)
        return path


Make: TypeAlias = Callable[[Site], Path]
"""Writes an item's files and gives what is to be opened."""

Values: TypeAlias = "Mapping[str, torch.Tensor | np.ndarray[Any, Any]]"
"""What an independent reader, or who wrote the file, says the tensors are."""


@dataclass(frozen=True, slots=True)
class Bad:
    """It is refused when it is opened or read.

    Attributes:
        name: Its family, and what is wrong.
        make: Writes it.
        told: What the message must contain, beside the file's path: the entry, and the reason.
    """

    name: str
    make: Make
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inert:
    """It would run code in another reader. Here it opens, and what would run is shown as a name.

    Attributes:
        name: Its family, and what would run.
        make: Writes it: a tensor `w` of four ones, and the payload.
        shown: The name that must be among the checkpoint's classes.
    """

    name: str
    make: Make
    shown: str


@dataclass(frozen=True, slots=True)
class Odd:
    """It is unusual and legitimate: it opens, and each tensor is exactly what another reader gives.

    Attributes:
        name: Its family, and what is odd.
        make: Writes it, and gives what is to be opened and the values.
        select: As for `torchgraft.open`.
    """

    name: str
    make: Callable[[Site], tuple[Path, Values]]
    select: str | None = "."


Item: TypeAlias = Bad | Inert | Odd


def file(content: bytes, name: str = "x") -> Make:
    """Makes one file of these bytes."""
    return lambda site: site.write(content, name)


def zipped(entries: Mapping[str, bytes] | list[tuple[str, bytes]], *, deflated: bool = False) -> bytes:
    """A zip archive; given as a list, names may be there twice."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    pairs = entries if isinstance(entries, list) else list(entries.items())
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in pairs:
            archive.writestr(name, data)
    return buffer.getvalue()
