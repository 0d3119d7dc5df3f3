"""A run of bytes in a remote file, of which parts can be asked for, and said beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torchgraft.storage.byte_file import ByteFile
from torchgraft.tensors import Far, Span

__all__ = ["FarBytes", "FarRange"]


class FarBytes(Protocol):
    """Stored bytes that cost a request."""

    def part(self, begin: int, length: int) -> memoryview:
        """Some of them, writable."""
        ...

    def spans(self, begin: int, length: int) -> Sequence[Span]:
        """What `part` will ask for."""
        ...


@dataclass(frozen=True, slots=True)
class FarRange:
    """`FarBytes` at a known place in a file; use `of`."""

    file: ByteFile
    far: Far
    offset: int

    @classmethod
    def of(cls, file: ByteFile, offset: int) -> FarRange | None:
        """The bytes from `offset` on if the file is a remote one."""
        return cls(file, file, offset) if file.path is None and isinstance(file, Far) else None

    def part(self, begin: int, length: int) -> memoryview:
        """Some of them, writable."""
        return self.file.view(self.offset + begin, length)

    def spans(self, begin: int, length: int) -> tuple[Span]:
        """What `part` will ask for."""
        return (Span(self.far, self.offset + begin, length),)
