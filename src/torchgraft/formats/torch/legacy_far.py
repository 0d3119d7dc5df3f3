"""A storage of PyTorch's old format in a remote file: the count before its bytes is read along with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.far_range import far_spans
from torchgraft.tensors import Span

__all__ = ["FarStorage"]

_NEAR = 1 << 16


@dataclass(slots=True, eq=False)
class FarStorage:
    """`FarBytes` that check on their first use what is written before them.

    Attributes:
        file: The file.
        place: Says where the storage begins, which is not known before the whole header has been read.
        check: Takes the 8 bytes before it. Raises `CorruptCheckpointError` when they are not its count.
        start: Where in the storage these bytes begin.
    """

    file: ByteFile
    place: Callable[[], int]
    check: Callable[[memoryview], None]
    start: int
    checked: bool = False

    def part(self, begin: int, length: int) -> memoryview:
        """Some of the bytes, writable."""
        place, at = self.place(), self.start + begin
        if self.checked or at > _NEAR:
            if not self.checked:
                self._check(self.file.view(place - 8, 8))
            return self.file.view(place + at, length)
        both = self.file.view(place - 8, 8 + at + length)
        self._check(both[:8])
        return both[8 + at :]

    def spans(self, begin: int, length: int) -> tuple[Span, ...]:
        """What `part` will ask for."""
        place, at = self.place(), self.start + begin
        if at <= _NEAR:
            return far_spans(self.file, place - 8, 8 + at + length)
        return far_spans(self.file, place - 8, 8) + far_spans(self.file, place + at, length)

    def _check(self, count: memoryview) -> None:
        self.check(count)
        self.checked = True
