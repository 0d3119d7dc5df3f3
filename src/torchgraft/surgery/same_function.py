"""Whether two models compute the same: both are run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.examining import observe
from torchgraft.anatomy.undisturbed import undisturbed
from torchgraft.anatomy.vocabulary_tables import rows_of, vocabulary_tables
from torchgraft.errors import AdaptError

__all__ = ["check_same", "telling_input", "without_mask"]

_CLOSE = 1e-4
"""How far outputs may be apart, in parts of the largest: rounding in float32, through many layers."""


def telling_input(small: nn.Module, example: object) -> Any:
    """An input on which models that differ are likely to give different outputs."""
    if example is not None:
        return example
    seen = observe(small)
    tables = vocabulary_tables(small, seen.anatomy)

    def varied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.is_floating_point() or not tables or value.dtype == torch.bool or value.ndim < 2:
                return value
            count = torch.arange(value.numel(), device=value.device).reshape(value.shape)
            return ((7 * count + 1) % rows_of(tables[0])).to(value.dtype)
        if isinstance(value, Mapping):
            tokens = ("input_ids", "decoder_input_ids")
            return {key: varied(inner) if key in tokens else inner for key, inner in value.items()}
        return type(value)(map(varied, value)) if isinstance(value, (tuple, list)) else value

    return varied(seen.example)


def without_mask(inputs: Any) -> Any:
    """The same without what a model may look into, which it can't where nothing has a value."""
    if not isinstance(inputs, Mapping):
        return inputs
    return {name: value for name, value in inputs.items() if "mask" not in name}


def check_same(large: nn.Module, small: nn.Module, inputs: Any, tried: Sequence[str]) -> None:
    """Run both and compare what they give.

    Args:
        large: The model that was grown.
        small: What it was grown from.
        inputs: What both take.
        tried: What was done, in words, for the message.

    Raises:
        AdaptError: Their outputs differ by more than rounding.
    """
    theirs, ours = _outputs(small, inputs), _outputs(large, inputs)
    shapes = [[list(tensor.shape) for tensor in side] for side in (theirs, ours)]
    if shapes[0] != shapes[1]:
        raise AdaptError(
            f"the smaller model gives {shapes[0]}, the larger {shapes[1]}", where=type(large).__name__
        )
    if not any(bool(tensor.count_nonzero()) for tensor in theirs):
        raise AdaptError(
            "the smaller model gives nothing but zeros, so that nothing can be compared",
            where=type(large).__name__,
            hint="grow from a trained model, or give an input on which it answers: example=",
        )
    eps = max(torch.finfo(tensor.dtype).eps for tensor in small.parameters() if tensor.is_floating_point())
    for one, other in zip(theirs, ours, strict=True):
        difference, largest = float((one - other).abs().max()), float(one.abs().max())
        if not difference <= max(_CLOSE, 4 * eps) * largest:
            raise AdaptError(
                f"the grown model's outputs differ by {difference:.2g} where the largest is {largest:.2g} "
                f"(tried: {'; '.join(tried[:6]) or 'the weights as they are'})",
                where=type(large).__name__,
                hint="do both connect their layers alike? Blocks that normalise what they have added to "
                "(BERT's) can't begin as the identity. To take what fits all the same: torchgraft.graft",
            )


def _outputs(model: nn.Module, inputs: Any) -> list[torch.Tensor]:
    with undisturbed(model), torch.no_grad():
        if isinstance(inputs, Mapping):
            outputs = model(**inputs)
        elif isinstance(inputs, (tuple, list)):
            outputs = model(*inputs)
        else:
            outputs = model(inputs)
    return [tensor.double() for tensor in _found(outputs) if tensor.is_floating_point()]


def _found(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _found(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _found(inner)
