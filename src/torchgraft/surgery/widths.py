"""Which axes of a model's tensors are one width: a layer's outputs, what normalises them, what takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from torchgraft.anatomy.flow import ParameterFlow
from torchgraft.errors import AdaptError

__all__ = ["Axis", "Width", "changed_widths"]

Side: TypeAlias = Literal["out", "in"]

_Node: TypeAlias = tuple[str, Side]

_NORMS_OVER = ("layernorm", "rmsnorm", "groupnorm")


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a tensor.

    Attributes:
        name: The tensor.
        axis: Which of its dimensions.
        side: Whether it gives the width (each unit a row, also of norms and scales) or takes it.
        repeats: How many numbers there are a unit: the pixels of a flattened map, the halves of a gate.
    """

    name: str
    axis: int
    side: Side
    repeats: int


@dataclass(frozen=True, slots=True)
class Width:
    """A number of features that differs between two models of one structure.

    Attributes:
        small: Features in the smaller model.
        large: In the larger one.
        axes: All axes of tensors that have to change together.
        normalised: A norm over these features, if there is one: then all have to be copied equally often.
    """

    small: int
    large: int
    axes: tuple[Axis, ...]
    normalised: str | None


def changed_widths(
    large: nn.Module, shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]], flow: ParameterFlow
) -> list[Width]:
    """The widths in which two models of the same names differ.

    Args:
        large: The larger model.
        shapes: For each tensor that both have its shape in the smaller and in the larger one.
        flow: How the larger model uses its parameters.

    Raises:
        AdaptError: A tensor or a layer of which this can't be told.
    """
    axes: dict[_Node, list[tuple[str, int, int, int]]] = {}
    parents: dict[_Node, _Node] = {}
    for name, (before, after) in shapes.items():
        path = name.rpartition(".")[0]
        for axis, side in _sides(large.get_submodule(path), name, before, after):
            axes.setdefault((path, side), []).append((name, axis, before[axis], after[axis]))
            parents.setdefault((path, side), (path, side))
    for path in {path for path, _ in axes}:
        if _passes(large.get_submodule(path)):
            _join(parents, (path, "out"), (path, "in"))
    names = list(flow.order)
    for name, below in flow.below.items():
        giver: _Node = (name.rpartition(".")[0], "out")
        takers = {names[bit].rpartition(".")[0] for bit in range(len(names)) if below >> bit & 1}
        for taker in takers if giver in axes else ():
            mixes = isinstance(large.get_submodule(taker), _MIXING) and not _passes(
                large.get_submodule(taker)
            )
            # A table or a token that is added to features, or put beside them, has their width.
            taken: _Node = (taker, "in") if mixes or (taker, "in") in axes else (taker, "out")
            if taken in axes and _compatible(axes[giver], axes[taken]):
                _join(parents, giver, taken)
    groups: dict[_Node, list[_Node]] = {}
    for node in axes:
        groups.setdefault(_root(parents, node), []).append(node)
    return [_width(large, nodes, axes) for nodes in groups.values()]


def _sides(
    module: nn.Module, name: str, before: tuple[int, ...], after: tuple[int, ...]
) -> Iterator[tuple[int, Side]]:
    """The axes that differ, and what they are to the layer."""
    if len(before) != len(after):
        raise AdaptError(f"has shape {list(before)} and {list(after)}", where=name)
    leaf = name.rpartition(".")[2]
    for axis, (n, m) in enumerate(zip(before, after, strict=True)):
        if n == m:
            continue
        if m < n:
            raise AdaptError(f"is larger in the smaller model: {list(before)}, {list(after)}", where=name)
        if isinstance(module, nn.RNNBase):
            raise AdaptError("a recurrent layer can't be widened yet", where=name)
        side: Side = "out"
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and axis == 0:
            raise AdaptError(
                f"knows {n} tokens in the smaller model, {m} in the larger",
                where=name,
                hint="bring the smaller one to them first: torchgraft.adapt(small, vocabulary=…)",
            )
        if leaf == "weight" and isinstance(module, _MIXING):
            turned = isinstance(module, _TRANSPOSED)
            groups = getattr(module, "groups", 1)
            if groups != 1 and axis < 2 and not _passes(module):
                raise AdaptError(f"is a convolution of {groups} groups, which can't be widened", where=name)
            if axis > 1:
                raise AdaptError(f"has another kernel: {list(before)}, {list(after)}", where=name)
            side = "out" if (axis == 1) == turned else "in"
        elif leaf == "weight" and type(module).__name__ == "Conv1D":  # transformers': (in, out)
            side = "out" if axis == 1 else "in"
        yield axis, side


_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MIXING = (nn.Linear, *_CONVS)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _passes(module: nn.Module) -> bool:
    """Whether a layer treats each feature apart: norms, scales, depthwise convolutions."""
    if isinstance(module, _CONVS):
        return module.groups == module.in_channels == module.out_channels and module.groups > 1
    parameters = list(module.parameters(recurse=False))
    return bool(parameters) and all(parameter.ndim <= 1 for parameter in parameters)


def _over_features(module: nn.Module) -> bool:
    """Whether it is a norm whose mean or variance is over features."""
    kind = type(module).__name__.lower()
    return any(norm in kind for norm in _NORMS_OVER)


def _compatible(one: Sequence[tuple[str, int, int, int]], other: Sequence[tuple[str, int, int, int]]) -> bool:
    """Whether one width is a multiple of the other, the same in both models."""
    (_, _, n, m), (_, _, k, l) = one[0], other[0]  # noqa: E741
    return n * l == m * k and (n % k == 0 or k % n == 0)


def _root(parents: dict[_Node, _Node], node: _Node) -> _Node:
    while parents[node] != node:
        node = parents[node]
    return node


def _join(parents: dict[_Node, _Node], one: _Node, other: _Node) -> None:
    if one in parents and other in parents:
        parents[_root(parents, one)] = _root(parents, other)


def _width(
    large: nn.Module, nodes: Sequence[_Node], axes: Mapping[_Node, Sequence[tuple[str, int, int, int]]]
) -> Width:
    held = [
        (name, axis, side, n, m) for node in nodes for (name, axis, n, m) in axes[node] for side in [node[1]]
    ]
    small, wide = min((n, m) for _, _, _, n, m in held)
    found = []
    for name, axis, side, n, m in held:
        if n % small or m % wide or n // small != m // wide:
            raise AdaptError(
                f"has {n} → {m} features where others that it goes with have {small} → {wide}", where=name
            )
        found.append(Axis(name, axis, side, n // small))
    paths = [path for path, _ in nodes]
    where = ", ".join(paths[:3])
    if not any(axis.side == "out" for axis in found):
        raise AdaptError(
            f"takes {small} features in the smaller model, {wide} in the larger, and no layer gives them",
            where=where,
            hint="if these are the input's, adapt the smaller model first: adapt(small, in_channels=…)",
        )
    if not any(axis.side == "in" for axis in found):
        raise AdaptError(
            f"gives {small} features in the smaller model, {wide} in the larger, and no layer takes them",
            where=where,
            hint="if these are classes, adapt the smaller model first: adapt(small, num_classes=…); "
            "features that are joined with others side by side (DenseNet's) can't be widened",
        )
    norms = (path for path in paths if _over_features(large.get_submodule(path)))
    return Width(small, wide, tuple(found), next(norms, None))
