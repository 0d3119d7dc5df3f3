"""`grow`: a smaller model's weights into a wider or deeper one that computes the same function."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from torchgraft.anatomy.flow import ParameterFlow, parameter_flow
from torchgraft.errors import AdaptError
from torchgraft.surgery.same_function import check_same, telling_input, without_mask
from torchgraft.surgery.widths import Width, changed_widths

__all__ = ["grow"]

_log = logging.getLogger(__name__)

_HEAD_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead")
_HEAD_WIDTHS = ("head_dim", "attention_head_size", "dim_head")


@torch.no_grad()
def grow(
    model: nn.Module,
    small: nn.Module,
    *,
    heads: Literal["copy"] | None = None,
    example: object = None,
    seed: int = 0,
) -> nn.Module:
    """Fill a model with the weights of a smaller one of the same structure, so that both compute the same.

    *Width*: of n features widened to m, the further ones are copies: feature j computes what feature j mod n
    does, and the layers that take them share out its weights among the copies, in uneven shares (drawn by
    `seed`) that add up to 1. So the outputs stay, and yet the copies learn different things.

    *Depth*: blocks that the smaller model does not have keep their own first layers; what they add to the
    residual stream is made zero, so that they pass on what they get.

    Both models are then run. Unless their outputs agree (to 10⁻⁴ of the largest; what is left is rounding),
    the model gets its own weights back, and an error says what was tried. That is so where a width can't be
    changed by copying: of wider attention heads, or of features that a LayerNorm sees and that are not
    multiplied by a whole number.

    Args:
        model: The larger model, with values (not on the meta device). It gets the weights in place.
        small: The smaller one. Its tensors have the same names; it is left as it is.
        heads: `"copy"` where the larger model has more attention heads of the same width: copies of the
            smaller one's. Without it, another number of heads is an error.
        example: An input both take. Guessed if not given.
        seed: Of the shares.

    Returns:
        `model`.

    Raises:
        AdaptError: They differ in a way that can't be grown, or the outputs did not agree.
        AnatomyError: The smaller model takes none of the inputs that were guessed.

    Sources:
        Chen, Goodfellow, Shlens: Net2Net (2015), of which this is Net2WiderNet, with all layers that share a
        width treated at once. Uneven shares: Wang et al., LEMON (2023). Blocks that begin as the identity:
        Goyal et al. (2017), zero-initialised last BatchNorm; Wu et al., LLaMA Pro (2024).
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers(), *small.named_parameters()):
        if tensor.is_meta:
            raise AdaptError("is on the meta device: there are no values to compare", where=name)
    ours, theirs = _tensors(model), _tensors(small)
    absent = [name for name in theirs if name not in ours]
    if absent:
        raise AdaptError(
            f"the larger model lacks {len(absent)} tensors of the smaller one, such as {absent[0]!r}",
            hint="grow takes two models of one class, which differ in width or depth",
        )
    _check_heads(model, small, heads)
    inputs = telling_input(small, example)
    flow = (
        parameter_flow(model, inputs) or parameter_flow(model, without_mask(inputs)) or parameter_flow(model)
    )
    if flow is None:
        raise AdaptError(
            "does not take the smaller model's input",
            where=type(model).__name__,
            hint="if it takes other channels, adapt the smaller one first: adapt(small, in_channels=…)",
        )
    before = {name: tensor.detach().clone() for name, tensor in ours.items()}
    shapes = {name: (tuple(theirs[name].shape), tuple(ours[name].shape)) for name in theirs}
    widths = changed_widths(model, shapes, flow)
    generator = torch.Generator().manual_seed(seed)
    values = _widened({name: tensor.detach() for name, tensor in theirs.items()}, widths, generator)
    added = [name for name in ours if name not in theirs]
    silenced = list(_last_of(added, flow)) if added else []
    tried = [f"copied features of {w.axes[0].name} {w.small}→{w.large}" for w in widths]
    tried += [f"zeros in {name}" for name in silenced]
    try:
        for name, value in values.items():
            ours[name].copy_(value)
        for name in silenced:
            ours[name].zero_()
        check_same(model, small, inputs, tried)
    except BaseException:
        for name, value in before.items():
            ours[name].copy_(value)
        raise
    _log.info("grown: %d widths, %d tensors of new blocks", len(widths), len(added))
    return model


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict((*model.named_parameters(), *model.named_buffers()))


def _check_heads(model: nn.Module, small: nn.Module, heads: str | None) -> None:
    if heads not in (None, "copy"):
        raise AdaptError(f"there is no way of growing heads called {heads!r}", hint='heads="copy"')
    others = dict(small.named_modules())
    for path, module in model.named_modules():
        for name in (*_HEAD_COUNTS, *_HEAD_WIDTHS):
            ours, theirs = getattr(module, name, None), getattr(others.get(path), name, None)
            if not isinstance(ours, int) or not isinstance(theirs, int) or ours == theirs:
                continue
            counted = name in _HEAD_COUNTS
            if counted and heads == "copy":
                continue
            raise AdaptError(
                f"has {name} {theirs} in the smaller model, {ours} in the larger: "
                + (
                    "heads are not grown unless you ask for it" if counted else "wider heads attend otherwise"
                ),
                where=path,
                hint='heads="copy", where the width of a head stays'
                if counted
                else "keep the width of a head, and widen the layers between (the MLP's)",
            )


def _widened(
    values: Mapping[str, torch.Tensor], widths: Sequence[Width], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    grown = dict(values)
    for width in widths:
        n, m = width.small, width.large
        if width.normalised is not None and m % n:
            raise AdaptError(
                f"normalises {n} features, and {m} are not a multiple of them: copies that are not equally "
                "many change their mean and variance",
                where=width.normalised,
                hint=f"{n * -(-m // n)} would do",
            )
        copies = torch.arange(m) % n
        shares = 0.5 + torch.rand(m, generator=generator, dtype=torch.float64)
        totals = torch.zeros(n, dtype=torch.float64).index_add_(0, copies, shares)
        shares = shares / totals[copies]
        for axis in width.axes:
            value = grown[axis.name]
            picked, weights = _expanded(copies, shares, n, axis.repeats, pixels=axis.side == "in")
            value = value.index_select(axis.axis, picked.to(value.device))
            if axis.side == "in":
                along = [1] * value.ndim
                along[axis.axis] = -1
                value = value * weights.to(value.device, value.dtype).reshape(along)
            grown[axis.name] = value
    return grown


def _expanded(
    copies: torch.Tensor, shares: torch.Tensor, n: int, repeats: int, *, pixels: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which number each one of an axis copies, and its share, where there are several numbers a unit.

    Of a flattened map, those of a channel (its pixels) lie together; of a gate, those of a half.
    """
    if pixels:
        places = copies[:, None] * repeats + torch.arange(repeats)
        return places.reshape(-1), shares.repeat_interleave(repeats)
    places = copies + n * torch.arange(repeats)[:, None]
    return places.reshape(-1), shares.repeat(repeats)


def _last_of(added: Sequence[str], flow: ParameterFlow) -> Iterator[str]:
    """Of tensors of new blocks, those whose results leave the new blocks."""
    names = list(flow.order)
    new = {name: bit for bit, name in enumerate(names) if name in set(added)}
    inside = sum(1 << bit for bit in new.values())
    for name in new:
        if flow.below[name] & ~inside or not flow.below[name]:
            yield name
