"""What an optimizer keeps for each element of a weight, through the steps that changed the weight.

A step makes each new element of some old ones, with factors that are not negative. What is kept of
gradients does not follow those factors: a gradient depends on what the weight is multiplied with, not on
its size. So a new element gets the average of what was kept of the old elements that it is made of, weighted
as in the step: `step(kept) / step(ones)`. For an element that is moved, or copied and scaled, that is the old
element's own; for channels that were summed or averaged it is their mean, which of the squares of gradients
is at least the square of the mean gradient, so that steps are rather too short.

An element that is made of nothing (a new class, a new channel) gets 0, as if its gradients had been 0. Of
what is kept to scale steps (`exp_avg_sq` and its like) it gets the mean of the tensor's carried elements:
with 0 there, and a step counter far ahead, Adam's first steps for it would be several times too long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

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
from torchgraft.adapting.ops import Op
from torchgraft.planning.entries import TargetEntry

__all__ = ["MAGNITUDES", "WEIGHTS", "carried", "obstacle"]

MAGNITUDES = frozenset(
    {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf", "acc_delta", "step_size", "acc_grad"}
)
"""What optimizers call the sizes of gradients or steps: Adam, RMSprop, Adagrad, Adamax, Adadelta, Rprop."""

WEIGHTS = frozenset({"ax", "z"})
"""What they call copies of the weights: ASGD's average, schedule-free's base."""

_MOVING = (Permuted, Reshaped, Pointwise, Block)
_MIXING = (InputChannels, CopiedChannels, Inflated, Deflated, Rows, MergedRows, Vocabulary)


def obstacle(entry: TargetEntry) -> str | None:
    """Which step what is kept can't be carried through; `None` if it can."""
    ops = [*entry.ops, *(op for part in entry.joined for op in part.ops)]
    return next((op.describe() for op in ops if not isinstance(op, (*_MOVING, *_MIXING))), None)


def carried(
    entry: TargetEntry, name: str, kept: Callable[[str], torch.Tensor | None], weight: torch.Tensor
) -> torch.Tensor:
    """One kind of what is kept, for a tensor of the model.

    Args:
        entry: What the plan does to the tensor.
        name: What the optimizer calls it, such as `"exp_avg"`.
        kept: Gives it for a tensor of the checkpoint; `None` if nothing is kept of that one.
        weight: The parameter.
    """
    if name in WEIGHTS:
        value, _ = _through(entry, kept, weight)
        return value
    value, share = _through(entry, kept, None)
    if share is None:
        return value
    new = share == 0
    value = torch.where(new | (share == 1), value, value / share)
    if bool(new.any()):
        rest = value[~new]
        filling = rest.mean() if name in MAGNITUDES and rest.numel() else value.new_zeros(())
        value = torch.where(new, filling.to(value.dtype), value)
    return value


def _through(
    entry: TargetEntry, kept: Callable[[str], torch.Tensor | None], weight: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the steps make of it, and of ones: how much of the old there is in each element."""
    if not entry.joined:
        assert entry.source is not None
        value = kept(entry.source)
        assert value is not None
        if all(isinstance(op, _MOVING) for op in entry.ops):
            return _chain(entry.ops, value.clone(), None), None
        value = value.float() if value.element_size() < 4 else value
        ops = entry.ops if weight is not None else _averaging(entry.ops)
        return _chain(ops, value, weight), _chain(ops, torch.ones_like(value), None)
    values, shares = [], []
    for part in entry.joined:
        value = kept(part.source) if part.source is not None else None
        if value is None:
            values.append(torch.zeros(part.shape))
            shares.append(torch.zeros(part.shape))
        else:
            ops = _averaging(part.ops)
            values.append(_chain(ops, value, None))
            shares.append(_chain(ops, torch.ones_like(value), None))
    ops = entry.ops if weight is not None else _averaging(entry.ops)
    return _chain(ops, torch.cat(values), weight), _chain(ops, torch.cat(shares), None)


def _averaging(ops: Sequence[Op]) -> list[Op]:
    """The steps as sums with factors that are not negative and fixed; new rows are made of nothing."""
    return [_simplified(op) for op in ops]


def _simplified(op: Op) -> Op:
    match op:
        case CopiedChannels():
            change = _simplified(op.change)
            assert isinstance(change, InputChannels)
            return replace(op, change=change)
        case InputChannels(mode="keep-scale"):
            return replace(op, mode="mean")
        case InputChannels(mode=tuple(entries)):
            positive = (tuple(map(abs, each)) if isinstance(each, tuple) else each for each in entries)
            return replace(op, mode=tuple(positive))
        case Rows():
            return replace(op, mode="model")
        case Vocabulary():
            return replace(op, mode="own")
        case MergedRows():
            return replace(op, mode="average")
    return op


def _chain(ops: Sequence[Op], value: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    for op in ops:
        base = None
        if op.needs_base:
            base = weight if weight is not None else value.new_zeros(op.shape(tuple(value.shape)))
        value = op.apply(value, base)
    return value
