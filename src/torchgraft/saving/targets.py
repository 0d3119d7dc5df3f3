"""What a path that is to be written stands for: a file of one kind or another, or a folder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from torchgraft.errors import SaveError

__all__ = ["Kind", "kind_of", "make_folder"]


class Kind(Enum):
    """What is written."""

    TORCH = "a .pth file"
    SAFETENSORS = "a safetensors file"
    FOLDER = "a folder"


def kind_of(target: Path) -> Kind:
    """What the name asks for.

    Raises:
        SaveError: Files of this kind are not written.
    """
    if target.suffix in (".pth", ".pt"):
        return Kind.TORCH
    if target.suffix == ".safetensors":
        return Kind.SAFETENSORS
    if target.suffix and not target.is_dir():
        raise SaveError(
            f"files of the kind {target.suffix!r} are not written",
            where=str(target),
            hint="end the name in .safetensors or .pth, or name a folder",
        )
    return Kind.FOLDER


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        SaveError: It can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"can't make this folder: {error.strerror}", where=str(path), hint="name another one"
        ) from error
