"""What every container gives: the file's data as plain Python, with a `TensorRef` where a tensor stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Container", "Placeholder"]


@dataclass(slots=True, eq=False)
class Placeholder:
    """An object whose class is not known, kept as what the file says of it. It can't do anything.

    Attributes:
        class_name: The dotted name the file gives, such as `"argparse.Namespace"`.
        args: What its constructor was to be called with.
        state: What was to be restored: usually the object's `__dict__`.
        items: What was to be put in it, for a subclass of list or dict.
    """

    class_name: str
    args: tuple[object, ...] = ()
    state: object = None
    items: list[object] | dict[object, object] | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """An opened file.

    Attributes:
        path: The file.
        format: The container's name, such as `"safetensors"`.
        tree: Dicts, lists, numbers, strings, `Placeholder`s, and a `TensorRef` for each tensor, named
            by its path in the tree.
        metadata: What the container itself says beside the tree, such as safetensors' header strings.
    """

    path: Path
    format: str
    tree: object
    metadata: Mapping[str, str] = field(default_factory=dict)
