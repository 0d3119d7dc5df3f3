"""Where a model keeps positions: tables that it adds to its tokens, or looks offsets up in; told by a run."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchgraft.adapting.places import Grid, Line, Window
from torchgraft.anatomy.detection import detector_in
from torchgraft.anatomy.example_inputs import guesses
from torchgraft.anatomy.meta_graph import MetaGraph, Node, meta_graph, shape_of_result
from torchgraft.anatomy.token_kinds import kind_of_token
from torchgraft.anatomy.windows import window_of

__all__ = ["PositionTable", "position_tables"]

_log = logging.getLogger(__name__)
_MOST_TOKENS = 16
"""Beside the patches, where the run does not show how many there are."""

_CALLED_POSITION = re.compile(r"(^|[._])(pos|position|positions|positional|wpe)([._]|$)")


@dataclass(frozen=True, slots=True)
class PositionTable:
    """A parameter or buffer that holds positions.

    Attributes:
        name: Its name in the model.
        place: How its rows stand.
        kinds: For a grid, what the tokens before the patches are, in order, such as `("class",)`.
        image: The height and width of the input it was seen with, if that is an image.
    """

    name: str
    place: Grid | Line | Window
    kinds: tuple[str, ...] = ()
    image: tuple[int, int] | None = None


def position_tables(model: nn.Module, example: object = None) -> dict[str, PositionTable]:
    """The model's tables of positions, by name; empty where it takes no input that was tried.

    A table of absolute positions is a tensor that nothing is done to but reshaping before it is added to a
    sequence of as many tokens; one of relative positions is looked up at the pairs of tokens of a window.
    What the tensors are called matters only for an `Embedding` of a text model.

    Args:
        model: Left as it was; it is run on the meta device, on shapes alone.
        example: An input it takes; guessed if not given.
    """
    detector = detector_in(model)
    if detector is not None:  # as a whole it does not run on the meta device
        inside = position_tables(detector.backbone).values()
        return {detector.within(each.name): replace(each, name=detector.within(each.name)) for each in inside}
    if isinstance(model, torch.jit.ScriptModule) or any(map(is_lazy, model.parameters())):
        return {}
    for attempt in [example] if example is not None else guesses(model):
        try:
            graph = meta_graph(model, attempt)
        except Exception:  # somebody else's model may raise anything
            _log.debug("the model does not run on such an input", exc_info=True)
            continue
        return _read(model, graph)
    return _by_name(model)


def _by_name(model: nn.Module) -> dict[str, PositionTable]:
    """The tables of a text model that can't be run without values, by what they are called."""
    modules = list(model.named_modules())
    if any(isinstance(module, nn.Conv2d | nn.Conv3d) for _, module in modules):
        return {}
    found = [
        (f"{path}.weight", module.num_embeddings, _offset(module))
        for path, module in modules
        if isinstance(module, nn.Embedding) and _CALLED_POSITION.search(path)
    ]
    return {
        name: PositionTable(name, Line(rows - offset, offset))
        for name, rows, offset in found
        if rows > offset
    }


def _read(model: nn.Module, graph: MetaGraph) -> dict[str, PositionTable]:
    found: dict[str, PositionTable] = {}
    for name, leaf in graph.tensors.items():
        shape = tuple(leaf.variable.shape)
        if not 2 <= len(shape) <= 4:
            continue
        owner = model.get_submodule(name.rpartition(".")[0])
        alone, meetings = _alone(graph, leaf)
        window = window_of(leaf, alone, owner)
        if window is not None:
            found[name] = PositionTable(name, window, image=graph.image)
            continue
        if sum(size > 1 for size in shape) < 2:
            continue
        for node, other in meetings:
            table = _added(graph, name, shape, owner, alone, node, other)
            if table is not None:
                found[name] = table
                break
    return found


def _alone(graph: MetaGraph, leaf: Node) -> tuple[list[Node], list[tuple[Node, Node | None]]]:
    """The operations that depend on this tensor only, and the additions at which it meets something else."""
    alone, seen = [leaf], {leaf}
    meetings: list[tuple[Node, Node | None]] = []
    for node in alone:  # grows on the way
        for user in graph.users.get(node, ()):
            if user in seen:
                continue
            others = [feeder for feeder in graph.takes[user] if feeder is not None and feeder not in seen]
            if not others:
                seen.add(user)
                alone.append(user)
            elif user.name().startswith("AddBackward"):
                meetings.append((user, others[0]))
    return alone, meetings


def _added(
    graph: MetaGraph,
    name: str,
    shape: tuple[int, ...],
    owner: nn.Module,
    alone: list[Node],
    node: Node,
    other: Node | None,
) -> PositionTable | None:
    """The table, if what the tensor is added to at `node` are tokens, or a map."""
    looked_up = any(each.name().startswith("EmbeddingBackward") for each in alone)
    if not looked_up and any(each.name() not in _RESHAPING for each in alone[1:]):
        return None
    sum_shape = shape_of_result(node)
    convolved = [each for each in graph.above(other) if each.name().startswith("ConvolutionBackward")]
    maps = [shape_of_result(each)[2:] for each in convolved if len(shape_of_result(each)) == 4]
    if looked_up and not convolved and not _CALLED_POSITION.search(name):
        return None  # of words, or of sentences
    if len(shape) >= 3 and math.prod(shape[:-3]) == 1 and len(sum_shape) == 4:
        at = _map_in(shape, sum_shape, maps, graph.image)
        return PositionTable(name, Grid(*at), image=graph.image) if at is not None else None
    if math.prod(shape[:-2]) != 1 or len(sum_shape) != 3 or sum_shape[-1] != shape[-1]:
        return None
    tokens = shape[-2]
    if maps:
        before, patches, after, kinds = _segments(graph, other, sum_shape[1])
        if sum_shape[1] != tokens:  # the class token gets its position on its own, as in MAE
            if before or after or tokens < patches or not any("Slice" in each.name() for each in alone):
                return None
            before = tokens - patches
        size = next((at for at in maps if math.prod(at) == patches), None) or _said(owner, patches)
        if size is not None:
            return PositionTable(name, Grid(size[0], size[1], before, after), kinds, graph.image)
        sizes = {at for at in maps if 0 <= tokens - math.prod(at) <= _MOST_TOKENS}
        if len(sizes) != 1:
            return None
        (size,) = sizes
        return PositionTable(name, Grid(size[0], size[1], tokens - math.prod(size)), image=graph.image)
    if not looked_up and graph.image is not None:  # a Linear over patches
        before, patches, after, kinds = _segments(graph, other, tokens)
        size = _said(owner, patches) or _square(patches)
        return (
            PositionTable(name, Grid(size[0], size[1], before, after), kinds, graph.image) if size else None
        )
    offset = _offset(owner) if looked_up else 0
    return PositionTable(name, Line(tokens - offset, offset)) if tokens > offset else None


def _map_in(
    shape: tuple[int, ...],
    whole: tuple[int, ...],
    maps: list[tuple[int, ...]],
    image: tuple[int, int] | None,
) -> tuple[int, int] | None:
    """Rows and columns of a table that holds a map with its channels first or last."""
    fits = [
        (at[0], at[1]) for at, there in ((shape[-2:], whole[2:]), (shape[-3:-1], whole[1:3])) if at == there
    ]
    shaped = [at for at in fits if image is not None and at[0] * image[1] == at[1] * image[0]]
    for choice in ([at for at in fits if at in maps], shaped, fits):
        if len(choice) == 1:
            return choice[0]
    return None


_RESHAPING = frozenset(
    f"{name}Backward{number}"
    for name in (
        "View", "Reshape", "ReshapeAlias", "UnsafeView", "Expand", "Permute", "Transpose", "T", "Slice",
        "Select", "Unsqueeze", "Squeeze", "Clone", "ToCopy", "Alias", "Repeat", "Cat", "Unflatten",
        "SplitWithSizes", "UpsampleBicubic2D", "UpsampleBicubic2DAa", "UpsampleBilinear2D",
        "UpsampleBilinear2DAa", "Embedding",
    )
    for number in range(3)
)  # fmt: skip


def _segments(graph: MetaGraph, node: Node | None, tokens: int) -> tuple[int, int, int, tuple[str, ...]]:
    """How many tokens stand before the patches, are patches, and follow; and what the first are."""
    while node is not None and not node.name().startswith("CatBackward"):
        feeders = [feeder for feeder in graph.takes[node] if feeder is not None and feeder not in graph.names]
        if len(feeders) != 1 or node.name() not in (_RESHAPING | {"NativeDropoutBackward0", "MulBackward0"}):
            return 0, tokens, 0, ()
        node = feeders[0]
    if node is None:
        return 0, tokens, 0, ()
    parts = graph.takes[node]
    sizes = [shape_of_result(part)[1] if part is not None else 0 for part in parts]
    missing = tokens - sum(sizes)
    if None in parts and missing:
        sizes[parts.index(None)] = missing
    largest = sizes.index(max(sizes))
    kinds: list[str] = []
    for part, size in zip(parts[:largest], sizes, strict=False):
        name = next((graph.names[each] for each in graph.above(part) if each in graph.names), "")
        kinds += [kind_of_token(name)] * size
    return sum(sizes[:largest]), sizes[largest], sum(sizes[largest + 1 :]), tuple(kinds)


def _said(owner: nn.Module, patches: int) -> tuple[int, int] | None:
    """The grid of so many patches that the module, or one within it, says it has."""
    for module in owner.modules():
        grid: Any = getattr(module, "grid_size", None)
        if isinstance(grid, tuple | list) and len(grid) == 2 and math.prod(grid) == patches:
            return (int(grid[0]), int(grid[1]))
    return None


def _square(patches: int) -> tuple[int, int] | None:
    side = math.isqrt(patches)
    return (side, side) if side * side == patches else None


def _offset(owner: nn.Module) -> int:
    """Rows of an `Embedding` before the first position's: BART says how many, RoBERTa skips padding."""
    offset = getattr(owner, "offset", None)
    if isinstance(offset, int):
        return offset
    padding = getattr(owner, "padding_idx", None)
    return padding + 1 if isinstance(padding, int) else 0
