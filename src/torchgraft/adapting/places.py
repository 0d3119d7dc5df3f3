"""What is known of where the rows of a position table stand, for the ops that resample them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torchgraft.errors import AdaptError

__all__ = ["Grid", "Line", "PatchPlace", "PositionPlace", "Window", "WindowPlace"]


@dataclass(frozen=True, slots=True)
class Grid:
    """The tokens of an image: some before it (class, distillation, registers), rows × columns, some after.

    Attributes:
        rows: Patches from top to bottom.
        columns: Patches from left to right.
        prefix: Tokens before the patches.
        suffix: Tokens after them.
    """

    rows: int
    columns: int
    prefix: int = 0
    suffix: int = 0

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 1 or min(self.prefix, self.suffix) < 0:
            raise AdaptError(f"there is no grid of {self}")

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prefix + self.rows * self.columns + self.suffix

    def to_json(self) -> list[int]:
        """`[rows, columns, prefix, suffix]`."""
        return [self.rows, self.columns, self.prefix, self.suffix]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Grid:
        """The inverse of `to_json`."""
        rows, columns, prefix, suffix = map(int, data)
        return cls(rows, columns, prefix, suffix)

    def __str__(self) -> str:
        text = f"{self.rows}x{self.columns}"
        text = f"{self.prefix}+{text}" if self.prefix else text
        return f"{text}+{self.suffix}" if self.suffix else text


@dataclass(frozen=True, slots=True)
class Line:
    """The positions of a text or signal: `offset` rows that are no position (RoBERTa's 2), then `length`."""

    length: int
    offset: int = 0

    def __post_init__(self) -> None:
        if self.length < 1 or self.offset < 0:
            raise AdaptError(f"there is no line of {self}")

    @property
    def tokens(self) -> int:
        """All rows."""
        return self.offset + self.length

    def __str__(self) -> str:
        return f"{self.offset}+{self.length}" if self.offset else str(self.length)


@dataclass(frozen=True, slots=True)
class PositionPlace:
    """A table of absolute positions.

    Attributes:
        target: How the model's rows stand.
        source: How the checkpoint's do, where it was said; else it is told from their number.
        kinds: What the model's tokens before the patches are, in order, if that is known: `("class",)`.
        prefixes: What those of the checkpoint may be, as far as its other tensors show; empty if they show
            nothing.
        sines: The formula that the checkpoint's values are, if they are one; see `SinePositions`.
    """

    target: Grid | Line
    source: Grid | Line | None = None
    kinds: tuple[str, ...] = ()
    prefixes: tuple[tuple[str, ...], ...] = ()
    sines: str | None = None

    def carried(self, prefix: int) -> tuple[int | None, ...]:
        """For each token before the model's patches which of the checkpoint's it is, or `None`."""
        assert isinstance(self.target, Grid)
        there = next((kinds for kinds in self.prefixes if len(kinds) == prefix), None)
        if there is None or len(self.kinds) != self.target.prefix:
            return tuple(row if row < prefix else None for row in range(self.target.prefix))
        left = list(enumerate(there))
        carried: list[int | None] = []
        for kind in self.kinds:
            found = next((pair for pair in left if pair[1] == kind), None)
            if found is not None:
                left.remove(found)
            carried.append(found[0] if found is not None else None)
        return tuple(carried)


@dataclass(frozen=True, slots=True)
class Window:
    """The offsets within a window of rows × columns tokens, and further entries for class tokens."""

    rows: int
    columns: int
    extra: int = 0

    @property
    def offsets(self) -> tuple[int, int]:
        """Vertical and horizontal offsets between two tokens."""
        return 2 * self.rows - 1, 2 * self.columns - 1

    @property
    def entries(self) -> int:
        """Rows of a flat table."""
        return math.prod(self.offsets) + self.extra

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


@dataclass(frozen=True, slots=True)
class WindowPlace:
    """A table of relative position biases: the model's window, and the checkpoint's where it was said."""

    target: Window
    source: Window | None = None


@dataclass(frozen=True, slots=True)
class PatchPlace:
    """A stem that cuts an image into patches: its stride is its kernel.

    Attributes:
        size: Rows and columns of the model's patch.
        order: For a `Linear` stem, which of channels (0), rows (1), columns (2) varies slowest, next and
            fastest within its input; `None` for a convolution.
        channels: Input channels of the image, for a `Linear`.
    """

    size: tuple[int, int]
    order: tuple[int, int, int] | None = None
    channels: int = 0
