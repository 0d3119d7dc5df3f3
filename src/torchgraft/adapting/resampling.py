"""A map of one size into another: how images, position tables and kernels are resampled."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Resampling", "arguments_of", "axis_matrix", "checked", "resampled", "resampled_back"]

Resampling: TypeAlias = Literal[
    "bicubic", "bilinear", "nearest", "interpolate", "corners", "linear", "geometric"
]
"""How; every way is linear, and separable into one matrix for rows and one for columns."""

_ARGUMENTS: dict[str, tuple[str, bool, bool | None]] = {  # mode of F.interpolate, antialias, align_corners
    "bicubic": ("bicubic", True, None),
    "bilinear": ("bilinear", True, None),
    "nearest": ("nearest-exact", False, None),
    "interpolate": ("bicubic", False, False),
    "corners": ("bicubic", False, True),
    "linear": ("bilinear", False, False),
}


def arguments_of(how: str) -> tuple[str, bool, bool | None]:
    """The mode, `antialias` and `align_corners` of `torch.nn.functional.interpolate` that do it."""
    return _ARGUMENTS[how]


def resampled(maps: torch.Tensor, size: tuple[int, int], how: str) -> torch.Tensor:
    """Maps `(N, C, rows, columns)` in another size, computed in float32 or wider, in their own dtype.

    Args:
        maps: Left as they were.
        size: Rows and columns of the result.
        how: A `Resampling`.
    """
    from torch.nn import functional

    wide = widened(maps)
    if how == "geometric" or 1 in (*maps.shape[-2:], *size):  # interpolate is wrong for maps one pixel wide
        down, across = (
            axis_matrix(old, new, how).to(wide) for old, new in zip(maps.shape[-2:], size, strict=True)
        )
        return (down @ wide @ across.t()).to(maps.dtype)
    mode, antialias, corners = _ARGUMENTS[how]
    if mode == "nearest-exact":
        return functional.interpolate(maps, size=size, mode=mode)
    result = functional.interpolate(wide, size=size, mode=mode, antialias=antialias, align_corners=corners)
    return result.to(maps.dtype)


def resampled_back(maps: torch.Tensor, size: tuple[int, int], how: str, doing: str) -> torch.Tensor:
    """The maps of `size` that `resampled` makes `maps` of.

    Raises:
        AdaptError: They were larger, so that information was lost, or no maps of `size` give these: they
            have been trained since.
    """
    import torch

    matrices = [axis_matrix(old, new, how) for old, new in zip(size, maps.shape[-2:], strict=True)]
    if any(int(torch.linalg.matrix_rank(matrix)) < matrix.shape[1] for matrix in matrices):
        raise AdaptError(f"{doing} can't be undone: there were more positions than there are now")
    down, across = (torch.linalg.pinv(matrix).to(maps.device) for matrix in matrices)
    back = (down @ maps.double() @ across.t()).to(widened(maps).dtype)
    if not maps.is_meta:
        again = resampled(back, (maps.shape[-2], maps.shape[-1]), how)
        # Twice rounded, and through an inverse that may stretch what is rounded.
        allowed = 32 * torch.finfo(maps.dtype).eps * float(widened(maps).abs().max())
        if float((again - widened(maps)).abs().max()) > allowed:
            raise AdaptError(
                f"{doing} can't be undone: the positions in between have been trained since, and dropping "
                "them would change the model"
            )
    result: torch.Tensor = back.to(maps.dtype)
    return result


@lru_cache(maxsize=64)
def axis_matrix(old: int, new: int, how: str) -> torch.Tensor:
    """The `(new, old)` matrix, in float64, that resamples one axis."""
    import torch

    # It is kept, so it must not depend on where it was first asked for.
    with torch.device("cpu"), torch.inference_mode(mode=False), torch.no_grad():
        return _geometric(old, new) if how == "geometric" else _interpolating(old, new, how)


def _interpolating(old: int, new: int, how: str) -> torch.Tensor:
    import torch
    from torch.nn import functional

    mode, antialias, corners = _ARGUMENTS[how]
    if old == new:
        return torch.eye(old, dtype=torch.float64)
    unit = torch.eye(old, dtype=torch.float64)[:, None, :, None].repeat(1, 1, 1, 3)  # an image a basis vector
    rows = functional.interpolate(unit, size=(new, 3), mode=mode, antialias=antialias, align_corners=corners)
    return rows[:, 0, :, 0].t().contiguous()


def checked(how: object, allowed: object) -> Any:
    """The mode, if it is one of a `Literal`'s.

    Raises:
        AdaptError: It is not.
    """
    for name in get_args(allowed):
        if how == name:
            return name
    raise AdaptError(f"there is no such mode: {how!r}", hint=f"use one of {', '.join(get_args(allowed))}")


def _geometric(old: int, new: int) -> torch.Tensor:
    """Offsets resampled so that small ones stay what they are, from BEiT's code.

    The old offsets are taken to lie at 0, ±1, ±(1+q), ±(1+q+q²), …, with the ratio q (between 1.01 and 1.5)
    for which the outermost reaches the new outermost; between them it is linear, beyond them constant.
    """
    import torch

    reach = old // 2
    left, right = 1.01, 1.5
    while right - left > 1e-6:
        ratio = (left + right) / 2
        if (1 - ratio**reach) / (1 - ratio) > new // 2:
            right = ratio
        else:
            left = ratio
    places, distance = [], 1.0
    for step in range(reach):
        places.append(distance)
        distance += ratio ** (step + 1)
    knots = torch.tensor([*(-place for place in reversed(places)), 0.0, *places], dtype=torch.float64)
    offsets = torch.arange(-(new // 2), new // 2 + 1, dtype=torch.float64)
    if old == 1:
        return torch.ones(new, 1, dtype=torch.float64)
    upper = torch.bucketize(offsets, knots).clamp(1, old - 1)
    share = ((offsets - knots[upper - 1]) / (knots[upper] - knots[upper - 1])).clamp(0, 1)
    matrix = torch.zeros(new, old, dtype=torch.float64)
    rows = torch.arange(new)
    matrix[rows, upper - 1] = 1 - share
    matrix[rows, upper] += share
    return matrix
