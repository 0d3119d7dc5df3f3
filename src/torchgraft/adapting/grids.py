"""Which grid a checkpoint's table of positions is for, from the number of its rows."""

from __future__ import annotations

import math

from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Grid, PositionPlace
from torchgraft.adapting.position_layout import Layout, tokens_in
from torchgraft.errors import AdaptError

__all__ = ["source_grid"]

_HINT = 'say it: modes={"positions": {"grid": [rows, columns], "prefix": tokens_before}}'


def source_grid(shape: Shape, layout: Layout, place: PositionPlace) -> Grid:
    """The one grid that so many rows can be for.

    The tokens before it are those that the checkpoint's other tensors show, or the model's, or none; the rest
    must be a square, have the model's proportions, or be as many patches as the model has.

    Raises:
        AdaptError: No grid fits, or several do.
    """
    target = place.target
    assert isinstance(target, Grid)
    held = tokens_in(shape, layout)
    if layout != "tokens":
        return Grid(*held)
    (tokens,) = held
    prefixes = tuple(map(len, place.prefixes)) or (target.prefix, 0)
    grids = [
        grid
        for prefix in dict.fromkeys(prefixes)
        for grid in _grids(tokens - prefix - target.suffix, prefix, target)
    ]
    if len(grids) == 1:
        return grids[0]
    if not grids:
        raise AdaptError(
            f"{tokens} positions are no square grid after {_either(prefixes)} other tokens, nor one of the "
            f"model's proportions ({target.rows}x{target.columns})",
            hint=_HINT,
        )
    raise AdaptError(f"{tokens} positions may be for several grids: {', '.join(map(str, grids))}", hint=_HINT)


def _grids(patches: int, prefix: int, target: Grid) -> list[Grid]:
    if patches < 1:
        return []
    sizes: list[tuple[int, int]] = []
    side = math.isqrt(patches)
    if side * side == patches:
        sizes.append((side, side))
    if target.rows != target.columns:
        unit = math.gcd(target.rows, target.columns)
        rows, columns = target.rows // unit, target.columns // unit
        times = math.isqrt(patches // (rows * columns))
        if times and times * times * rows * columns == patches:
            sizes.append((rows * times, columns * times))
    return [Grid(*size, prefix, target.suffix) for size in sizes]


def _either(prefixes: tuple[int, ...]) -> str:
    return " or ".join(map(str, dict.fromkeys(prefixes)))
