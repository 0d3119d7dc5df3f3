"""Other libraries' order of dimensions, undone: Keras's and Flax's kernels, GPT-2's dense layers.

A layout is known where the reader of the file marks it (`Named.layout`), or the leaf is called `kernel`.
Dense layers called `weight` tell by their biases: if all that are not square are transposed, so are the
square ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from torchgraft.adapting import Permuted, Reshaped
from torchgraft.adapting.ops import Op, Shape
from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.pieces import Piece

__all__ = ["usual", "voted"]

_CHANNELS_LAST = {2: "IO", 3: "WIO", 4: "HWIO", 5: "DHWIO"}
_UNSURE = ("w", "weights")
"""What Haiku and TF-Slim call kernels, whose outputs are last, and others weights that lie as PyTorch's."""

_INWARD = {"query", "key", "value", "q", "k", "v"}


def usual(tensors: Sequence[Piece]) -> list[Piece]:
    """The tensors as they would lie in PyTorch."""
    laid = [_laid(tensor, _steps(tensor)) for tensor in tensors]
    turned = _turned(laid)
    return [_laid(tensor, (Permuted((1, 0)),)) if tensor.name in turned else tensor for tensor in laid]


def voted(ours: Sequence[Piece], theirs: Sequence[Piece]) -> list[Piece]:
    """The checkpoint's tensors with leaves called `w` or `weights` turned round, if the shapes vote for it.

    Raises:
        AmbiguousMatchError: All of them are square.
    """
    found = list(ours)
    for word in _UNSURE:
        kernels = [t for t in ours if _last_word(t.name) == word and len(t.shape) > 1 and not t.ops]
        turned = {t.name: _laid(t, _unmarked(_CHANNELS_LAST.get(len(t.shape), ""), t.shape)) for t in kernels}
        wanted = Counter(t.shape for t in theirs)
        votes = [
            (Counter(t.shape for t in side) & wanted).total()
            for side in (
                [t for t in kernels if turned[t.name].shape != t.shape],
                [t for t in turned.values() if t.shape != t.whole],
            )
        ]
        if votes == [0, 0] and kernels:
            raise AmbiguousMatchError(
                f"all of {kernels[0].name!r} and its like are square: nothing tells (in, out) from (out, in)",
                hint=f"say which: rename=[r're:\\b{word}$=kernel'] for (in, out), "
                f"rename=[r're:\\b{word}$=weight'] for PyTorch's (out, in)",
            )
        if votes[1] > votes[0]:
            found = [turned.get(t.name, t) for t in found]
    return found


def _turned(tensors: Sequence[Piece]) -> set[str]:
    """Dense layers of `(in, out)`: where one is not square, its bias is as long as one of the sizes."""
    biases = {t.path: t.shape for t in tensors if t.leaf == "bias"}
    dense = {
        t.name: (t.shape, biases[t.path])
        for t in tensors
        if len(t.shape) == 2 and t.leaf == "weight" and t.path in biases
    }
    telling = [bias == shape[1:] for shape, bias in dense.values() if shape[0] != shape[1] and len(bias) == 1]
    return set(dense) if telling and all(telling) else set()


def _laid(tensor: Piece, steps: tuple[Op, ...]) -> Piece:
    shape = tensor.shape
    for step in steps:
        shape = step.shape(shape)
    return replace(tensor, shape=shape, ops=(*tensor.ops, *steps), layout="" if steps else tensor.layout)


def _steps(tensor: Piece) -> tuple[Op, ...]:
    layout = tensor.layout.partition(":")[0]
    gates = tensor.layout.partition(":")[2]
    if gates and gates != "ifco":
        return ()  # a GRU's gates are in another order: nothing that a transposition mends
    if not layout and _last_word(tensor.name) in {"kernel", "bias"}:
        layout = _guessed(tensor)
    if len(layout) != len(tensor.shape) or layout.startswith("sparse"):
        return ()
    return _unmarked(layout, tensor.shape)


def _guessed(tensor: Piece) -> str:
    """The layout of a Flax `kernel`, by the number of its dimensions."""
    path, shape = tensor.path, tensor.shape
    name = path[-1].lower() if path else ""
    if _last_word(tensor.name) == "bias":
        return "ND" if len(shape) == 2 else ""
    if len(shape) == 3:
        if name in _INWARD and shape[0] == shape[1] * shape[2]:
            return "IND"
        if name not in _INWARD and shape[2] == shape[0] * shape[1]:
            return "NDO"
    return _CHANNELS_LAST.get(len(shape), "")


def _unmarked(layout: str, shape: Shape) -> tuple[Op, ...]:
    """From a layout in letters to PyTorch's: outputs, inputs, then depth, height and width."""
    if layout == "ND":
        return (Reshaped(shape, (math.prod(shape),)),)
    if layout in {"IND", "NDO"}:
        axes = (1, 2, 0) if layout == "IND" else (2, 0, 1)
        turned = tuple(shape[axis] for axis in axes)
        merged = (math.prod(turned[:2]), turned[2]) if layout == "IND" else (turned[0], math.prod(turned[1:]))
        return (Permuted(axes), Reshaped(turned, merged))
    spatial = tuple(axis for axis, letter in enumerate(layout) if letter in "DHW")
    if layout.startswith("O"):  # outputs first, as in PyTorch, and the inputs before or behind the rest
        order: tuple[int, ...] = (0, layout.find("I"), *spatial)
        return (Permuted(order),) if sorted(order) == list(range(len(layout))) != list(order) else ()
    last = layout[-2:]
    if len(spatial) + 2 != len(layout) or last not in {"IO", "OI", "IM"}:
        return ()
    outer, inner = len(layout) - 2, len(layout) - 1
    if last == "IM":  # depthwise: one convolution for each of I inputs and M multiples
        turned = (outer, inner, *spatial)
        sizes = tuple(shape[axis] for axis in turned)
        return (Permuted(turned), Reshaped(sizes, (sizes[0] * sizes[1], 1, *sizes[2:])))
    # a transposed convolution (OI) keeps its inputs first in PyTorch, as IO does its outputs
    return (Permuted((inner, outer, *spatial)),)


def _last_word(name: str) -> str:
    return name.replace("/", ".").rpartition(".")[2].partition(":")[0]
