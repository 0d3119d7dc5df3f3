"""Dequantising spelled as PyTorch calls, for a script that does without torchgraft."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torchgraft.adapting.ops import Shape
from torchgraft.planning.entries import SourceEntry

__all__ = ["dequantising"]


def dequantising(
    entry: SourceEntry, stored: Mapping[str, SourceEntry], slot: Callable[[int], str], first: int
) -> tuple[tuple[str, ...], str]:
    """The names that a tensor of the checkpoint is made of, and the expression that makes it.

    Args:
        entry: The tensor's, quantised or not.
        stored: All of the checkpoint's, by name.
        slot: What stands in the expression for the names, by number.
        first: The number of the first.
    """
    scaling = entry.scaling
    if scaling is None:
        return (entry.name,), slot(first)
    if scaling.scale is None:
        return (entry.name,), f"{slot(first)}.dequantize()"
    names = [entry.name]
    text = f"{slot(first)}.float()"
    if scaling.zero_point is not None:
        names.append(scaling.zero_point)
        zeros = _spread(slot(first + 1), stored[scaling.zero_point], entry.shape, scaling.block)
        text = f"({text} - {zeros})"
    names.append(scaling.scale)
    scales = _spread(slot(first + len(names) - 1), stored[scaling.scale], entry.shape, scaling.block)
    factor = f" * (1 / {round(1 / scaling.factor)})" if scaling.factor != 1 else ""
    return tuple(names), f"({text} * {scales}{factor})"


def _spread(text: str, scales: SourceEntry, shape: Shape, block: tuple[int, ...]) -> str:
    """The scales so that they multiply a weight of `shape`: as they are, or each repeated for its block."""
    if scales.dtype == "uint8":
        text = f"{text}.view(torch.float8_e8m0fnu)"
    text = f"{text}.float()"
    if scales.shape in ((), (1,)):
        return text
    if len(scales.shape) < len(shape):
        sizes = (*scales.shape, *(1,) * (len(shape) - len(scales.shape)))
        if sum(size != 1 for size in sizes) == 1:
            sizes = tuple(-1 if size != 1 else 1 for size in sizes)
        text = f"{text}.reshape({', '.join(map(str, sizes))})"
    else:
        sizes = scales.shape
    cut = []
    for axis, (size, step, count) in enumerate(zip(shape, block, sizes, strict=True)):
        repeated = count != 1 and step != 1
        if repeated:
            text = f"{text}.repeat_interleave({step}, {axis})"
        cut.append(f":{size}" if repeated and size % step else ":")
    while cut and cut[-1] == ":":
        cut.pop()
    return f"{text}[{', '.join(cut)}]" if cut else text
