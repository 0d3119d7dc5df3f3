"""A run of bytes in a remote file, of which parts can be asked for, and said beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.part import FilePart
from torchgraft.tensors import Far, Span

__all__ = ["FarBytes", "FarRange", "far_spans", "is_far"]


class FarBytes(Protocol):
    """Stored bytes that cost a request."""

    def part(self, begin: int, length: int) -> memoryview:
        """Some of them, writable."""
        ...

    def spans(self, begin: int, length: int) -> Sequence[Span]:
        """What `part` will ask for."""
        ...


def is_far(file: ByteFile) -> bool:
    """Whether the file is a remote one, or lies in one."""
    while isinstance(file, FilePart):
        file = file.whole
    return file.path is None and isinstance(file, Far)


def far_spans(file: ByteFile, offset: int, length: int) -> tuple[Span, ...]:
    """These bytes, as they are asked for beforehand; none where the file is not a remote one.

    What lies in another file is asked for there, so that all parts of one file come together.
    """
    while isinstance(file, FilePart):
        offset += file.offset
        file = file.whole
    return (Span(file, offset, length),) if file.path is None and isinstance(file, Far) else ()


@dataclass(frozen=True, slots=True)
class FarRange:
    """`FarBytes` at a known place in a file; use `of`."""

    file: ByteFile
    offset: int

    @classmethod
    def of(cls, file: ByteFile, offset: int) -> FarRange | None:
        """The bytes from `offset` on if the file is a remote one, or lies in one."""
        return cls(file, offset) if is_far(file) else None

    def part(self, begin: int, length: int) -> memoryview:
        """Some of them, writable."""
        return self.file.view(self.offset + begin, length)

    def spans(self, begin: int, length: int) -> tuple[Span, ...]:
        """What `part` will ask for."""
        return far_spans(self.file, self.offset + begin, length)
