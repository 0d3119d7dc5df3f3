"""The graph that autograd records of one run on shapes alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from torchgraft.anatomy.nested_tensors import tensors_in
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["MetaGraph", "Node", "meta_graph", "shape_of_result"]

Node: TypeAlias = Any
"""An autograd function; PyTorch has no public class for it."""


@dataclass(frozen=True)
class MetaGraph:
    """All operations that an output depends on.

    Attributes:
        takes: For each operation those whose results it takes, in the order of its arguments; `None` for what
            depends on nothing.
        users: For each operation those that take its result.
        tensors: The operations that stand for a parameter or floating-point buffer, by its name.
        names: The reverse.
        image: The height and width of the input, if it was an image.
    """

    takes: Mapping[Node, list[Node | None]]
    users: Mapping[Node, list[Node]]
    tensors: Mapping[str, Node]
    names: Mapping[Node, str]
    image: tuple[int, int] | None

    def above(self, node: Node | None) -> Iterator[Node]:
        """The operation and all that it depends on, nearest first."""
        waiting = [] if node is None else [node]
        seen = set(waiting)
        for each in waiting:  # grows on the way
            yield each
            for feeder in self.takes[each]:
                if feeder is not None and feeder not in seen:
                    seen.add(feeder)
                    waiting.append(feeder)


def meta_graph(model: nn.Module, example: object) -> MetaGraph:
    """Run the model on the meta device, where nothing is computed, on an input like the example.

    Args:
        model: Left as it was.
        example: An input it takes, of which only the shapes and dtypes matter.

    Raises:
        Exception: Whatever the model raises.
    """
    call = getattr(model, "_orig_mod", model)  # torch.compile would compile for the meta device
    with undisturbed(model):
        held = {name: _leaf(tensor) for name, tensor in (*call.named_parameters(), *call.named_buffers())}
        arguments = _on_meta(example)
        keywords = dict(arguments) if isinstance(arguments, Mapping) else {}
        values = () if keywords else arguments if isinstance(arguments, tuple) else (arguments,)
        result = torch.func.functional_call(call, held, values, keywords)
    by_id = {id(tensor): name for name, tensor in held.items()}
    takes: dict[Node, list[Node | None]] = {}
    users: dict[Node, list[Node]] = defaultdict(list)
    tensors: dict[str, Node] = {}
    waiting = [tensor.grad_fn for tensor in tensors_in(result) if tensor.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in takes:
            continue
        takes[node] = [feeder for feeder, _ in node.next_functions]
        name = by_id.get(id(getattr(node, "variable", None)))
        if name is not None:
            tensors[name] = node
        for feeder in takes[node]:
            if feeder is not None:
                users[feeder].append(node)
                waiting.append(feeder)
    return MetaGraph(takes, users, tensors, {node: name for name, node in tensors.items()}, _image(example))


def shape_of_result(node: Node) -> tuple[int, ...]:
    """The shape of what the operation gives."""
    return tuple(node._input_metadata[0].shape)  # noqa: SLF001  # what its gradient must look like; no other way


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    """Running statistics, which are vectors, can't have gradients; tables in buffers can."""
    watched = tensor.is_floating_point() and (isinstance(tensor, nn.Parameter) or tensor.ndim > 1)
    return torch.empty_like(tensor, device="meta").requires_grad_(watched)


def _on_meta(value: object) -> Any:
    if isinstance(value, torch.Tensor):
        moved = value.detach().to("meta")
        # not a leaf, for a model may write to its input
        return moved.requires_grad_().clone() if moved.is_floating_point() else moved
    if isinstance(value, Mapping):
        return {key: _on_meta(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(_on_meta, value))
    return value


def _image(example: object) -> tuple[int, int] | None:
    for tensor in tensors_in(example):
        if tensor.ndim == 4 and tensor.is_floating_point():
            return (tensor.shape[2], tensor.shape[3])
    return None
