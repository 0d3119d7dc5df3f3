"""What stands on the machine's stack beside plain data, and how much work a pickle may ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.container import Placeholder
from torchgraft.storage.byte_file import ByteFile
from torchgraft.tensors import TensorRef

__all__ = ["Blob", "Budget", "Build", "Global", "Nesting", "OldText", "apply_call", "as_key"]

_INT64 = 1 << 63
_MAX_TUPLE = 16
_MAX_ALIKE = 16


class Nesting(NamedTuple):
    """Where a pickle stands that is inside another: how deep, and what keeps its storages' keys apart."""

    depth: int = 0
    prefix: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Many bytes in a pickle. They stay in the file until they are needed: a checkpoint's arrays are such."""

    file: ByteFile
    offset: int
    size: int

    def view(self) -> memoryview:
        """The bytes, writable, without a copy where the file allows it."""
        return self.file.view(self.offset, self.size)

    def __str__(self) -> str:
        return f"{self.size} bytes"


class OldText(str):
    """A text of Python 2, which had one type for text and bytes, and the bytes that it was.

    Attributes:
        raw: The bytes.
    """

    __slots__ = ("raw",)

    raw: bytes


class Budget:
    """How many items a pickle may have copied: each appears in the file once, so a few more than its bytes.

    Without it a short pickle could copy one long list over and over. What takes far more memory than its
    bytes in the file, as a set or a tensor does, costs as many items as it takes bytes in an honest file.
    """

    __slots__ = ("left", "nesting", "tuple_keys", "where")

    def __init__(self, size: int, where: str, nesting: Nesting) -> None:
        self.left = size + 1_000_000
        self.tuple_keys: dict[int, list[object]] = {}
        self.where = where
        self.nesting = nesting

    def spend(self, items: int, what: str = "it copies its contents over and over") -> None:
        """Raises `UnsafeCheckpointError` when the budget is used up."""
        self.left -= items
        if self.left < 0:
            raise UnsafeCheckpointError(what, where=self.where)

    def admits(self, key: tuple[object, ...]) -> bool:
        """Whether few other tuples have this one's hash; otherwise dicts of them would take hours to fill."""
        alike = self.tuple_keys.setdefault(hash(key), [])
        if key in alike:
            return True
        if len(alike) < _MAX_ALIKE:
            alike.append(key)
            return True
        return False


Build: TypeAlias = Callable[[tuple[object, ...], Budget], object]
"""Acts out a call on plain data. `NotImplemented` means that the arguments are not understood."""


class Global:
    """A name from the file: a class or a function. `build` acts out a call of it; `None`: unknown."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Build | None = None) -> None:
        self.name = name
        self.build = build

    def __repr__(self) -> str:
        return f"<class {self.name}>"


def apply_call(target: object, args: object, budget: Budget) -> object:
    """What the file wants made of a name and arguments: plain data, a `TensorRef` or a `Placeholder`."""
    if not isinstance(args, tuple):
        raise TypeError(f"arguments of type {type(args).__name__}")
    if isinstance(target, Global):
        if target.build is not None:
            result = target.build(args, budget)
            if result is not NotImplemented:
                return result
        return Placeholder(target.name, args)
    if isinstance(target, Placeholder):  # a call of what a call gave
        budget.spend(len(args))
        return Placeholder(f"{target.class_name.removesuffix('()')}()", (target, *args))
    raise TypeError(f"a {type(target).__name__} is called")


def as_key(value: object, budget: Budget) -> object:
    """The value, when it can be a dict's key cheaply; else a placeholder around it.

    Hashes of strings are salted; those of large numbers and of tuples with numbers in them are not, so a
    file could make them all collide: every tuple of -1 and -2 has the hash of the others of its length.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is bytes or kind is float:
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else Placeholder("builtins.int", (value,))
    if isinstance(value, OldText):
        return str(value)
    if (
        isinstance(value, tuple)
        and len(value) <= _MAX_TUPLE
        and all(map(_is_scalar, value))
        and budget.admits(value)
    ):
        return value
    if isinstance(value, (Placeholder, Global)):
        return value  # by identity
    if isinstance(value, TensorRef):
        return Placeholder("torch.Tensor", (value,))
    return Placeholder(f"builtins.{kind.__name__}", (value,))


def _is_scalar(value: object) -> bool:
    return (
        value is None
        or isinstance(value, (str, bytes, float, bool))
        or (isinstance(value, int) and -_INT64 <= value < _INT64)
    )
