"""Ops spelled as PyTorch calls, so that a script can do them without torchgraft."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchgraft.adapting import (
    Block,
    CopiedChannels,
    Deflated,
    Inflated,
    InputChannels,
    MergedRows,
    Permuted,
    Pointwise,
    Reshaped,
    Rows,
    Vocabulary,
)
from torchgraft.adapting.in_mode import Entry
from torchgraft.adapting.new_rows import LOW, SEED
from torchgraft.adapting.ops import Op, Shape
from torchgraft.adapting.row_lengths import SPREAD
from torchgraft.adapting.token_rows import drawn_from_all, share
from torchgraft.planning.script_positions import POSITION_SPELLINGS

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
    fresh = op.rows.count(None)
    if not fresh:
        return f"{of.tensor}[{list(op.rows)}]"
    n, wide = op.source_rows, _wide(of)
    mean = f"{wide}.mean(dim=0, keepdim=True)"
    if op.mode == "zeros":
        low = f"{wide}.min().clamp(max={LOW}).expand({fresh})"
        made = low if len(of.shape) == 1 else f"torch.zeros_like({wide}[:1]).repeat({_times(fresh, of)})"
    elif op.mode == "mean-cov" and n > 1:
        noise = f"torch.randn({fresh}, {n}, generator=torch.Generator().manual_seed({SEED}))"
        spread = f"torch.tensordot({noise}.to({wide}), {wide} - {mean}, 1)"
        made = _at_length(f"({mean} + {spread} / {math.sqrt(n - 1)})", wide, of)
    else:
        made = _at_length(f"{mean}.repeat({_times(fresh, of)})", wide, of)
    places = iter(range(n, n + fresh))
    rows = [next(places) if row is None else row for row in op.rows]
    return f"torch.cat([{of.tensor}, {made}.to(torch.{of.dtype})])[{rows}]"


def _merged(op: MergedRows, of: _Subject) -> str:
    wide = _wide(of)
    more = op.mode == "sum" and len(of.shape) == 1
    rows = [
        f"{wide}[{group[0]}]"
        if len(group) == 1
        else f"{wide}[{list(group)}].mean(dim=0)" + (f" + {math.log(len(group))}" if more else "")
        for group in op.groups
    ]
    return _at_length(f"torch.stack([{', '.join(rows)}])", wide, of) + f".to(torch.{of.dtype})"


def _times(count: int, of: _Subject) -> str:
    return ", ".join(map(str, (count, *(1,) * (len(of.shape) - 1))))


def _at_length(rows: str, wide: str, of: _Subject) -> str:
    """The rows, brought to the length that all rows of a cosine classifier have."""
    if len(of.shape) < 2 or of.shape[0] < 2:
        return rows
    rest = ", ".join("1" for _ in of.shape[1:])
    each = f"{wide}.flatten(1).norm(dim=1)"
    alike = f"({each} - {each}[0]).abs().max() < {SPREAD} * {each}[0]"
    there = f"{each}[0] / {rows}.flatten(1).norm(dim=1).reshape(-1, {rest})"
    return f"({rows} * torch.where({alike}, {there}, 1.0))"


def _wide(of: _Subject) -> str:
    """Computed in float32, as torchgraft does, since sums would lose digits."""
    return f"{of.tensor}.float()" if of.dtype in _NARROW else of.tensor


def _channels(op: InputChannels, of: _Subject) -> str:
    n, m = op.source, op.target
    narrow = of.dtype in _NARROW  # computed in float32, as torchgraft does, since sums would lose digits
    w = f"{of.tensor}.float()" if narrow else of.tensor
    rest = len(of.shape) - 2
    if isinstance(op.mode, tuple):
        made = f"torch.stack([{', '.join(_channel(entry, w) for entry in op.mode)}], dim=1)"
    elif op.mode == "zeros":
        zeros = f"{w}.new_zeros({', '.join(map(str, (of.shape[0], m - n, *of.shape[2:])))})"
        made = f"torch.cat([{w}, {zeros}], dim=1)"
    elif op.mode == "sum":
        made = f"({w}.sum(dim=1, keepdim=True) / {m}).repeat_interleave({m}, dim=1)"
    elif op.mode in ("mean", "keep-scale"):
        kept = n if m >= n else 0
        mean = f"{w}.mean(dim=1, keepdim=True).repeat_interleave({m - kept}, dim=1)"
        parts = f"[{w}, {mean}]" if kept else f"[{w}[:, :0], {mean}]"
        made = f"torch.cat({parts}, dim=1)"
        made = f"({made} * ({n} / {m}))" if op.mode == "mean" else _kept_scale(made, w, rest + 1)
    elif m == 1:
        made = f"{w}.sum(dim=1, keepdim=True)"
    else:
        times = ", ".join(map(str, (1, math.ceil(m / n), *(1,) * rest)))
        made = f"({w}.repeat({times})[:, :{m}] * ({n} / {m}))"
    return f"{made}.to(torch.{of.dtype})" if narrow else made


def _channel(entry: Entry, w: str) -> str:
    if isinstance(entry, tuple):
        return f"torch.tensordot({w}.new_tensor({list(entry)}), {w}[:, :{len(entry)}], ([0], [1]))"
    words = {"mean": f"{w}.mean(dim=1)", "zeros": f"torch.zeros_like({w}[:, 0])"}
    return f"{w}[:, {entry}]" if isinstance(entry, int) else words[entry]


def _kept_scale(made: str, w: str, rest: int) -> str:
    """Each filter brought to its old length; one of zeros stays."""
    ratio = f"{w}.flatten(1).norm(dim=1) / {made}.flatten(1).norm(dim=1)"
    ones = ", ".join("1" for _ in range(rest))
    return f"({made} * ({ratio}).nan_to_num(0, 0, 0).reshape(-1, {ones}))"


def _copied(op: CopiedChannels, of: _Subject) -> str:
    n, (out, _, *kernel) = op.change.source, of.shape
    parts = (out, n, op.copies) if op.together else (out, op.copies, n)
    turn = "" if op.together else ".transpose(1, 2)"
    apart = f"{of.tensor}.reshape({', '.join(map(str, (*parts, *kernel)))}){turn}"
    made = _channels(op.change, _Subject(apart, (out, n, op.copies, *kernel), of.dtype))
    return f"{made}{turn}.flatten(1, 2)"


def _vocabulary(op: Vocabulary, of: _Subject) -> str:
    rows, new = op.rows, op.target - op.carried
    if not new and rows == tuple(range(op.target)):
        return f"{of.tensor}[:{op.target}]"
    if not new:
        return f"{of.tensor}[{list(rows)}]"
    fresh = iter(range(op.source, op.source + new))
    places = [next(fresh) if row is None else row for row in rows]
    whole = f"torch.cat([{of.tensor}, {_new_rows(op, of, new)}])"
    return whole if places == list(range(op.source + new)) else f"{whole}[{places}]"


def _new_rows(op: Vocabulary, of: _Subject, new: int) -> str:
    w = of.tensor if op.tokens == op.source else f"{of.tensor}[:{op.tokens}]"
    if op.mode == "zeros":
        return f"{w}.new_zeros({', '.join(map(str, (new, *of.shape[1:])))})"
    narrow = of.dtype in _NARROW
    w = f"{w}.float()" if narrow else w
    made = f"{w}.mean(dim=0).expand({', '.join(map(str, (new, *of.shape[1:])))})"
    if op.mode != "mean":
        flat = w if len(of.shape) == 2 else f"{w}.reshape({op.tokens}, -1)"
        width = math.prod(of.shape[1:])
        root = f"(({flat} - {flat}.mean(dim=0)) * {share(op.tokens)!r})"
        height = op.tokens
        if not drawn_from_all(op.tokens, new, width):
            root, height = f'torch.linalg.qr({root}, mode="r").R', min(op.tokens, width)
        number = f"dtype=torch.{'float32' if narrow else of.dtype}"
        drawn = f"torch.randn({new}, {height}, generator=torch.Generator().manual_seed({op.seed}), {number})"
        made = f"({flat}.mean(dim=0) + {drawn} @ {root})"
        made = made if len(of.shape) == 2 else f"{made}.reshape({', '.join(map(str, (new, *of.shape[1:])))})"
    return f"{made}.to(torch.{of.dtype})" if narrow else made


def _inflated(op: Inflated, of: _Subject) -> str:
    if op.mode == "mean":
        each = f"({_wide(of)} / {op.frames}).to(torch.{of.dtype})"
        return f"{each}[:, :, None].repeat(1, 1, {op.frames}, 1, 1)"
    before = op.frames // 2
    around = (0, 0, 0, 0, before, op.frames - 1 - before)
    return f"torch.nn.functional.pad({of.tensor}[:, :, None], {around})"


def _deflated(op: Deflated, of: _Subject) -> str:
    if op.mode == "centre":
        return f"{of.tensor}[:, :, {op.frames // 2}]"
    made = f"{_wide(of)}.sum(dim=2)"
    return f"{made}.to(torch.{of.dtype})" if of.dtype in _NARROW else made


_SPELLINGS: dict[type[Any], Callable[[Any, _Subject], str]] = {
    Permuted: _permuted,
    Reshaped: _reshaped,
    Pointwise: _pointwise,
    Block: _block,
    Rows: _rows,
    MergedRows: _merged,
    Inflated: _inflated,
    Deflated: _deflated,
    Vocabulary: _vocabulary,
    InputChannels: _channels,
    CopiedChannels: _copied,
    **POSITION_SPELLINGS,
}
