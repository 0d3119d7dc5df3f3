"""What every container gives: the file's data as plain Python, with a `TensorRef` where a tensor stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.folder import Folder
from torchgraft.tensors import TensorRef

__all__ = ["Container", "FolderFormat", "Format", "OpenFile", "Placeholder", "ZipFormat"]


@dataclass(slots=True, eq=False)
class Placeholder:
    """An object whose class is not known, kept as what the file says of it. It can't do anything.

    Attributes:
        class_name: The dotted name the file gives, such as `"argparse.Namespace"`.
        args: What its constructor was to be called with.
        state: What was to be restored: usually the object's `__dict__`.
        items: What was to be put in it, for a subclass of list or dict.
        why: Of a tensor: why it is none here.
        tensors: Of a tensor: those that it is made of, by name, if it is made of some.
    """

    class_name: str
    args: tuple[object, ...] = ()
    state: object = None
    items: list[object] | dict[object, object] | None = None
    why: str = ""
    tensors: Mapping[str, TensorRef] | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """An opened file.

    Attributes:
        name: Its path or address, for messages.
        path: Where it is on this machine, if it is.
        format: The container's name, such as `"safetensors"`.
        tree: Dicts, lists, numbers, strings, `Placeholder`s, and a `TensorRef` for each tensor. A ref
            has its name only where the container itself names tensors; in a pickle the place in the
            tree is the name. The tree may share and even hold parts of itself. What has no value here
            (a class, a bare storage) is an inert object that prints as what it is.
        metadata: What the container itself says beside the tree, as plain data: safetensors' header strings,
            the other files of a folder.
        forget: Gives back to the system the memory of what was read; see `MappedFile.forget`.
    """

    name: str
    path: Path | None
    format: str
    tree: object
    metadata: Mapping[str, object] = field(default_factory=dict)
    forget: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of container.

    Attributes:
        name: Its name, such as `"safetensors"`.
        recognise: Whether a file that begins with these bytes (up to 4096) claims to be one.
        read: Opens such a file. Raises `CheckpointError`.
    """

    name: str
    recognise: Callable[[bytes], bool]
    read: Callable[[ByteFile], Container]


@dataclass(frozen=True, slots=True)
class ZipFormat:
    """A kind of container that is a zip archive.

    Attributes:
        name: Its name, such as `"torch zip"`.
        recognise: Whether an archive with entries of these names is one.
        read: Opens such an archive, whose directory has been read. Raises `CheckpointError`.
    """

    name: str
    recognise: Callable[[Collection[str]], bool]
    read: Callable[[ByteFile, Mapping[str, Entry]], Container]


OpenFile: TypeAlias = Callable[[ByteFile], Container]
"""Opens one file, whatever it is; an index of other files is not followed."""


@dataclass(frozen=True, slots=True)
class FolderFormat:
    """A kind of container of several files in a folder.

    Attributes:
        name: Its name, such as `"safetensors shards"`.
        recognise: Whether this folder is one, by the names of its files.
        read: Opens it, given what opens one file. Raises `CheckpointError`.
        key: The name of the file that says what the others are, if it is always the same: opening that file
            opens the folder.
        read_together: As `read`, where a folder may hold several checkpoints and the user says which one is
            meant: all of them in one tree. `read` refuses such a folder.
    """

    name: str
    recognise: Callable[[Folder], bool]
    read: Callable[[Folder, OpenFile], Container]
    key: str | None = None
    read_together: Callable[[Folder, OpenFile], Container] | None = None
