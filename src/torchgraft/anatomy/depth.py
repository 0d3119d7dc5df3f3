"""A model's parameters by their distance from its input: stem, blocks, head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from torchgraft.anatomy.blocks import blocks_of
from torchgraft.anatomy.flow import parameter_flow
from torchgraft.anatomy.sites import matrix_layers

__all__ = ["Layer", "layers_of"]


@dataclass(frozen=True, slots=True)
class Layer:
    """Parameters of one depth.

    Attributes:
        name: `stem`, a block's path, or `head`.
        parameters: Their names in `model.named_parameters()`; a shared one has its first.
    """

    name: str
    parameters: tuple[str, ...]


def layers_of(model: nn.Module, heads: Iterable[str], example: object = None) -> list[Layer]:
    """All parameters by depth, from the input to the head; the place in the list is the depth.

    Blocks (see `blocks_of`) are one depth each, in the order in which a run uses them. What is used before
    the first block, embeddings and tables of positions among it, is depth 0; what is used between two blocks
    goes with the later one; what comes after the last block goes with that; the head is the last. A model
    without blocks has a depth for each layer. So timm groups its models for layer-wise learning rates.

    Args:
        model: Left as it was. If it does not run on the example or any guess, the order is as registered.
        heads: Module paths of its heads.
        example: An input it takes; guessed if not given.
    """
    names = [name for name, _ in model.named_parameters()]
    flow = parameter_flow(model, example)
    order = _order(names, flow.order if flow is not None else {})
    in_head = _head_names(model, names, list(heads))
    body = [name for name in names if name not in in_head]
    block_of = _block_of(body, blocks_of(model, example) or _single_layers(model))
    started: dict[str, tuple[int, int]] = {}
    for name in body:
        if (block := block_of.get(name)) is not None:
            started[block] = min(order[name], started.get(block, order[name]))
    sequence = sorted(started, key=lambda block: started[block])
    layers: dict[str, list[str]] = {"stem": [], **{block: [] for block in sequence}}
    for name in body:
        block = block_of.get(name)
        if block is None:
            begun = sum(order[name] > started[other] for other in sequence)
            block = "stem" if not begun else sequence[min(begun, len(sequence) - 1)]
        layers[block].append(name)
    layers["head"] = [name for name in names if name in in_head]
    return [Layer(name, tuple(held)) for name, held in layers.items() if held]


def _order(names: list[str], used: dict[str, int]) -> dict[str, tuple[int, int]]:
    """The order of use; what no output depends on stays behind what is registered before it."""
    order: dict[str, tuple[int, int]] = {}
    last = -1
    for place, name in enumerate(names):
        last = used.get(name, last)
        order[name] = (last, place)
    return order


def _head_names(model: nn.Module, names: list[str], heads: list[str]) -> set[str]:
    """The heads' parameters, and those of norms and the like that share a part of the model with them."""
    places = set(heads)
    layers = [path for path, _ in matrix_layers(model)]
    for head in heads:
        parent = head.rpartition(".")[0]
        if parent and all(path in places for path in layers if path.startswith(f"{parent}.")):
            places.add(parent)
    return {name for name in names if any(name == place or name.startswith(f"{place}.") for place in places)}


def _block_of(names: list[str], blocks: list[str]) -> dict[str, str]:
    found = {}
    known = set(blocks)
    for name in names:
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            if (path := ".".join(parts[:end])) in known:
                found[name] = path
                break
    return found


def _single_layers(model: nn.Module) -> list[str]:
    return [path for path, _ in matrix_layers(model)][1:]
