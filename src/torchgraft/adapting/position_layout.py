"""How a table of positions holds a map: as tokens in a row, or as the map itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Grid
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Layout", "Parts", "layout_of", "parts_of_table", "table_of_parts", "tokens_in", "with_grid"]

Layout: TypeAlias = Literal["tokens", "last", "first"]
"""`(…, N, D)`, `(…, rows, columns, D)` or `(…, D, rows, columns)`."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A table taken apart: `(L, D, rows, columns)`, and `(L, n, D)` for the tokens before and after."""

    before: torch.Tensor
    patches: torch.Tensor
    after: torch.Tensor


def layout_of(shape: Shape, grid: Grid) -> Layout | None:
    """How a table of this shape holds the positions of this grid; `None` if it does not, or in two ways."""
    whole = (grid.rows, grid.columns)
    fits: list[Layout] = []
    if len(shape) in (2, 3) and shape[-2] == grid.tokens and math.prod(shape[:-2]) == 1:
        fits.append("tokens")
    if len(shape) in (3, 4) and not grid.prefix and not grid.suffix and math.prod(shape[:-3]) == 1:
        fits += [name for name, at in (("last", shape[-3:-1]), ("first", shape[-2:])) if at == whole]  # type: ignore[misc]
    return fits[0] if len(fits) == 1 else None


def tokens_in(shape: Shape, layout: Layout) -> tuple[int, ...]:
    """The sizes that a grid gives: `(N,)` or `(rows, columns)`."""
    return {"tokens": shape[-2:-1], "last": shape[-3:-1], "first": shape[-2:]}[layout]


def with_grid(shape: Shape, layout: Layout, grid: Grid) -> Shape:
    """The shape of the same table for another grid."""
    if layout == "tokens":
        return (*shape[:-2], grid.tokens, shape[-1])
    if layout == "last":
        return (*shape[:-3], grid.rows, grid.columns, shape[-1])
    return (*shape[:-2], grid.rows, grid.columns)


def parts_of_table(table: torch.Tensor, layout: Layout, grid: Grid, doing: str) -> Parts:
    """Views of the table's parts.

    Raises:
        AdaptError: It does not hold this grid, or no floating-point numbers.
    """
    shape = tuple(table.shape)
    held = tokens_in(shape, layout) if len(shape) >= (2 if layout == "tokens" else 3) else ()
    if held != ((grid.tokens,) if layout == "tokens" else (grid.rows, grid.columns)):
        raise AdaptError(f"{doing}: a table of shape {list(shape)} does not hold the positions {grid}")
    if not table.is_floating_point():
        raise AdaptError(f"{doing}: a {table.dtype} table can't be resampled; dequantise it first")
    if layout == "first":
        maps = table.reshape(-1, *shape[-3:])
    elif layout == "last":
        maps = table.reshape(-1, *shape[-3:]).permute(0, 3, 1, 2)
    else:
        rows = table.reshape(-1, *shape[-2:])
        end = grid.prefix + grid.rows * grid.columns
        patches = rows[:, grid.prefix : end].reshape(rows.shape[0], grid.rows, grid.columns, shape[-1])
        return Parts(rows[:, : grid.prefix], patches.permute(0, 3, 1, 2), rows[:, end:])
    none = maps.new_empty(maps.shape[0], 0, maps.shape[1])
    return Parts(none, maps, none)


def table_of_parts(parts: Parts, layout: Layout, shape: Shape) -> torch.Tensor:
    """The parts put together as a table of this shape."""
    import torch

    if layout == "first":
        return parts.patches.reshape(shape)
    if layout == "last":
        return parts.patches.permute(0, 2, 3, 1).reshape(shape)
    rows = parts.patches.flatten(2).transpose(1, 2)
    return torch.cat([parts.before, rows, parts.after], dim=1).reshape(shape)
