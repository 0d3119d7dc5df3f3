"""Ops spelled as PyTorch calls, so that a script can do them without torchgraft."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchgraft.adapting import Block, InputChannels, Permuted, Pointwise, Reshaped, Rows
from torchgraft.adapting.ops import Op, Shape

__all__ = ["spelled"]

_NARROW = ("float16", "bfloat16")


def spelled(op: Op, tensor: str, shape: Shape, dtype: str) -> str | None:
    """The op as a Python expression; `None` if it needs the model's own tensor.

    Sizes are left to PyTorch where they can be, so that siblings of other widths are spelled alike.

    Args:
        op: Any op.
        tensor: The expression it is applied to, which ends in a name, a call or an index.
        shape: The shape of that.
        dtype: Its dtype.
    """
    if op.needs_base:
        return None
    for kind, spell in _SPELLINGS.items():
        if isinstance(op, kind):
            return spell(op, _Subject(tensor, shape, dtype))
    raise NotImplementedError(f"op {op.name!r} has no spelling: add it to {__name__}")


@dataclass(frozen=True, slots=True)
class _Subject:
    tensor: str
    shape: Shape
    dtype: str


def _permuted(op: Permuted, of: _Subject) -> str:
    if op.axes == (1, 0):
        return f"{of.tensor}.t()"
    return f"{of.tensor}.permute({', '.join(map(str, op.axes))})"


def _reshaped(op: Reshaped, of: _Subject) -> str:
    sizes = list(op.target)
    free = next((axis for axis, size in enumerate(sizes) if size > 1), None)
    if free is not None:
        sizes[free] = -1
    return f"{of.tensor}.reshape({', '.join(map(str, sizes)) if sizes else '()'})"


def _pointwise(op: Pointwise, of: _Subject) -> str:
    flat = f"{of.tensor}.flatten(1)" if op.source else of.tensor
    return flat + (f"[:, :{', None' * op.target}]" if op.target else "")


def _block(op: Block, of: _Subject) -> str:
    size = op.stop - op.start
    if op.rows % size == 0 and op.start % size == 0:
        return f"{of.tensor}.chunk({op.rows // size})[{op.start // size}]"
    start = "" if op.start == 0 else op.start
    return f"{of.tensor}[{start}:{'' if op.stop == op.rows else op.stop}]"


def _rows(op: Rows, of: _Subject) -> str:
    return f"{of.tensor}[{list(op.rows)}]"


def _channels(op: InputChannels, of: _Subject) -> str:
    n, m = op.source, op.target
    narrow = of.dtype in _NARROW  # computed in float32, as torchgraft does, since sums would lose digits
    w = f"{of.tensor}.float()" if narrow else of.tensor
    rest = len(of.shape) - 2
    if isinstance(op.mode, tuple):
        words = {"mean": f"{w}.mean(dim=1)", "zeros": f"torch.zeros_like({w}[:, 0])"}
        picked = [f"{w}[:, {entry}]" if isinstance(entry, int) else words[entry] for entry in op.mode]
        made = f"torch.stack([{', '.join(picked)}], dim=1)"
    elif op.mode == "zeros":
        zeros = f"{w}.new_zeros({', '.join(map(str, (of.shape[0], m - n, *of.shape[2:])))})"
        made = f"torch.cat([{w}, {zeros}], dim=1)"
    elif op.mode == "sum":
        made = f"({w}.sum(dim=1, keepdim=True) / {m}).repeat_interleave({m}, dim=1)"
    elif op.mode == "mean":
        kept = n if m >= n else 0
        mean = f"{w}.mean(dim=1, keepdim=True).repeat_interleave({m - kept}, dim=1)"
        parts = f"[{w}, {mean}]" if kept else f"[{w}[:, :0], {mean}]"
        made = f"(torch.cat({parts}, dim=1) * ({n} / {m}))"
    elif m == 1:
        made = f"{w}.sum(dim=1, keepdim=True)"
    else:
        times = ", ".join(map(str, (1, math.ceil(m / n), *(1,) * rest)))
        made = f"({w}.repeat({times})[:, :{m}] * ({n} / {m}))"
    return f"{made}.to(torch.{of.dtype})" if narrow else made


_SPELLINGS: dict[type[Any], Callable[[Any, _Subject], str]] = {
    Permuted: _permuted,
    Reshaped: _reshaped,
    Pointwise: _pointwise,
    Block: _block,
    Rows: _rows,
    InputChannels: _channels,
}
