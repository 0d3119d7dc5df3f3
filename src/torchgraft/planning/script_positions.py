"""Ops on positions, biases and patches spelled as PyTorch calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torchgraft.adapting import PatchKernel, Positions, RelativePositions, SinePositions, TextPositions
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import Grid
from torchgraft.adapting.resampling import arguments_of, axis_matrix

__all__ = ["POSITION_SPELLINGS"]

_NARROW = ("float16", "bfloat16")


class _Subject(Protocol):
    @property
    def tensor(self) -> str: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> str: ...


def _positions(op: Positions, of: _Subject) -> str:
    source, target = op.source, op.target
    size = (target.rows, target.columns)
    if op.layout != "tokens":
        maps = of.tensor if len(of.shape) == 4 else f"{of.tensor}[None]"
        if op.layout == "first":
            made = _resized(maps, size, op.mode, of)
        else:
            made = f"{_resized(f'{maps}.permute(0, 3, 1, 2)', size, op.mode, of)}.permute(0, 2, 3, 1)"
        return made if len(of.shape) == 4 else f"{made}[0]"
    rows = of.tensor if len(of.shape) == 2 else f"{of.tensor}[0]"
    end = source.prefix + source.rows * source.columns
    patches = f"{rows}[{source.prefix}:{end}]"
    if (source.rows, source.columns) != size:
        maps = f"{patches}.reshape(1, {source.rows}, {source.columns}, -1).permute(0, 3, 1, 2)"
        patches = f"{_resized(maps, size, op.mode, of)}[0].flatten(1).t()"
    after = [end + row if row < source.suffix else None for row in range(target.suffix)]
    return _stacked([*_tokens(rows, op.prefix), patches, *_tokens(rows, after)], of)


def _text(op: TextPositions, of: _Subject) -> str:
    n, m, offset = op.source.length, op.target.length, op.source.offset
    rows = of.tensor if len(of.shape) == 2 else f"{of.tensor}[0]"
    if op.mode == "linear":
        wide = _wide(f"{rows}[{offset}:]", of)
        made = f'torch.nn.functional.interpolate({wide}.t()[None], {m}, mode="linear")[0].t()'
        parts = [_tail(made, of)]
    elif m <= n:
        return _stacked([f"{rows}[:{m + offset}]"], of)
    else:
        parts = [f"{rows}[{offset}:].repeat({-(-m // n)}, 1)[:{m}]"]
    return _stacked([f"{rows}[:{offset}]", *parts] if offset else parts, of)


def _sines(op: SinePositions, of: _Subject) -> str:
    width, target = of.shape[-1], op.target
    inclusive = op.formula.endswith("-inclusive")
    n = width // 4 if isinstance(target, Grid) else width // 2
    steps = f"torch.arange({n}, dtype=torch.float64) / {max(n - 1 if inclusive else n, 1)}"

    def halves(count: int) -> str:
        angles = f"torch.arange({count}, dtype=torch.float64)[:, None] * 10000.0 ** -({steps})"
        return f"torch.cat([({angles}).sin(), ({angles}).cos()], 1)"

    rows = of.tensor if len(of.shape) == 2 else f"{of.tensor}[0]"
    if not isinstance(target, Grid):
        made = halves(target.length)
        if op.formula == "interleaved":
            made = f"{made}.unflatten(1, (2, -1)).transpose(1, 2).flatten(1)"
        return _stacked([f"{made}.to(torch.{of.dtype})"], of)
    down = f"{halves(target.rows)}.repeat_interleave({target.columns}, 0)"
    across = f"{halves(target.columns)}.repeat({target.rows}, 1)"
    pair = f"{across}, {down}" if op.formula.startswith("columns") else f"{down}, {across}"
    assert isinstance(op.source, Grid)
    known = op.source.prefix
    prefix = [row if row < known else None for row in range(target.prefix)]
    return _stacked([*_tokens(rows, prefix), f"torch.cat([{pair}], 1).to(torch.{of.dtype})"], of)


def _window(op: RelativePositions, of: _Subject) -> str:
    old, new = op.source.offsets, op.target.offsets
    flat = len(of.shape) == 2
    end = op.source.entries - op.source.extra
    maps = f"{of.tensor}[:{end}].t().reshape(1, -1, {old[0]}, {old[1]})" if flat else f"{of.tensor}[None]"
    if op.mode == "geometric":
        made = f"{_picked(_picked(_wide(maps, of), old[0], new[0], 2), old[1], new[1], 3)}"
        made = _tail(made, of)
    else:
        made = _resized(maps, new, op.mode, of)
    made = f"{made}[0].flatten(1).t()" if flat else f"{made}[0]"
    return f"torch.cat([{made}, {of.tensor}[{end}:]])" if op.source.extra else made


def _picked(maps: str, old: int, new: int, axis: int) -> str:
    """Each new row or column as the sum of two old ones, weighted."""
    matrix = axis_matrix(old, new, "geometric")
    top = matrix.topk(min(2, old), dim=1)
    shape = "(-1, 1)" if axis == 2 else "(-1,)"
    slices = ":, :, " if axis == 2 else ":, :, :, "
    terms = [
        f"{maps}[{slices}{indices}] * torch.tensor({[round(share, 9) for share in shares]}).reshape{shape}"
        for indices, shares in zip(top.indices.t().tolist(), top.values.t().tolist(), strict=True)
    ]
    return f"({' + '.join(terms)})"


def _patch(op: PatchKernel, of: _Subject) -> str:
    kernel = of.tensor
    if op.order is not None:
        channels = of.shape[1] // (op.source[0] * op.source[1])
        sizes = [(channels, *op.source)[axis] for axis in op.order]
        back = [0, *(1 + op.order.index(axis) for axis in range(3))]
        kernel = f"{kernel}.reshape(-1, {', '.join(map(str, sizes))}).permute({', '.join(map(str, back))})"
    if op.mode == "pinv":
        down, across = (_matrix(old, new) for old, new in zip(op.source, op.target, strict=True))
        kernel = f"(torch.linalg.pinv({down}).t() @ {kernel}.double() @ torch.linalg.pinv({across}))"
        kernel = f"{kernel}.to(torch.{of.dtype})"
    else:
        kernel = _resized(kernel, op.target, op.mode, of)
    if op.order is not None:
        kernel = f"{kernel}.permute(0, {', '.join(str(1 + axis) for axis in op.order)}).flatten(1)"
    return kernel


def _matrix(old: int, new: int) -> str:
    """The matrix that resizes one axis, from what resizing does to unit vectors."""
    unit = f"torch.eye({old}, dtype=torch.float64)[:, None, :, None].repeat(1, 1, 1, 3)"
    size = f'({new}, 3), mode="bicubic", antialias=True'
    return f"torch.nn.functional.interpolate({unit}, {size})[:, 0, :, 0].t()"


def _tokens(rows: str, places: Sequence[int | None]) -> list[str]:
    return [f"torch.zeros_like({rows}[:1])" if at is None else f"{rows}[{at}:{at + 1}]" for at in places]


def _stacked(parts: Sequence[str], of: _Subject) -> str:
    made = f"torch.cat([{', '.join(parts)}])" if len(parts) > 1 else parts[0]
    return made if len(of.shape) == 2 else f"{made}[None]"


def _resized(maps: str, size: tuple[int, int], how: str, of: _Subject) -> str:
    mode, antialias, corners = arguments_of(how)
    words = [f"{size}", f'mode="{mode}"']
    words += ["antialias=True"] if antialias else []
    words += ["align_corners=True"] if corners else []
    return _tail(f"torch.nn.functional.interpolate({_wide(maps, of)}, {', '.join(words)})", of)


def _wide(tensor: str, of: _Subject) -> str:
    return f"{tensor}.float()" if of.dtype in _NARROW else tensor


def _tail(made: str, of: _Subject) -> str:
    return f"{made}.to(torch.{of.dtype})" if of.dtype in _NARROW else made


POSITION_SPELLINGS: dict[type[Any], Callable[[Any, Any], str]] = {
    Positions: _positions,
    TextPositions: _text,
    SinePositions: _sines,
    RelativePositions: _window,
    PatchKernel: _patch,
}
