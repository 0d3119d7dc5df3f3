"""In which order a model uses its parameters, and which feed which: read off one run on shapes alone."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.example_inputs import guesses
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["parameter_flow"]

_log = logging.getLogger(__name__)


def parameter_flow(
    model: nn.Module, example: object = None
) -> tuple[dict[str, int], dict[str, frozenset[str]]] | None:
    """Run the model on the meta device, where nothing is computed, and read the graph of its parameters.

    Args:
        model: Left as it was.
        example: An input it takes; guessed if not given.

    Returns:
        For each parameter that an output depends on, a number that grows in the order of use, and the
        parameters whose results flow into where it is used. `None` if the model takes no input tried.
    """
    if isinstance(model, torch.jit.ScriptModule):
        return None
    for attempt in [example] if example is not None else guesses(model):
        try:
            return _run(model, attempt)
        except Exception:  # somebody else's model may raise anything
            _log.debug("the model does not run on such an input", exc_info=True)
    return None


def _run(model: nn.Module, example: object) -> tuple[dict[str, int], dict[str, frozenset[str]]]:
    with undisturbed(model):
        shapes = {
            name: torch.empty_like(parameter, device="meta").requires_grad_(parameter.is_floating_point())
            for name, parameter in model.named_parameters()
        }
        others = {name: torch.empty_like(buffer, device="meta") for name, buffer in model.named_buffers()}
        arguments = _on_meta(example)
        keywords = arguments if isinstance(arguments, Mapping) else {}
        values = () if keywords else arguments if isinstance(arguments, tuple) else (arguments,)
        call = getattr(model, "_orig_mod", model)  # torch.compile would compile for the meta device
        if call is not model:
            shapes, others = (
                {name.removeprefix("_orig_mod."): tensor for name, tensor in side.items()}
                for side in (shapes, others)
            )
        result = torch.func.functional_call(call, {**shapes, **others}, values, dict(keywords))
    prefix = "" if call is model else "_orig_mod."
    names = {id(tensor): prefix + name for name, tensor in shapes.items()}
    return _read([t.grad_fn for t in _tensors(result) if t.grad_fn is not None], names)


def _read(outputs: list[Any], names: Mapping[int, str]) -> tuple[dict[str, int], dict[str, frozenset[str]]]:
    inputs: dict[Any, list[Any]] = {}
    users: dict[Any, list[Any]] = defaultdict(list)
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node in inputs:
            continue
        inputs[node] = [above for above, _ in node.next_functions if above is not None]
        for above in inputs[node]:
            users[above].append(node)
            waiting.append(above)
    held = {node: names[id(node.variable)] for node in inputs if id(getattr(node, "variable", None)) in names}
    used: dict[Any, set[str]] = defaultdict(set)
    order: dict[str, int] = {}
    for leaf, name in held.items():
        place = _first(_meetings(leaf, users, inputs))
        used[place].add(name)
        order[name] = place._sequence_nr()  # noqa: SLF001  # autograd's own count of operations; no other way
    feeds = {name: frozenset[str]() for name in order}
    for place, here in used.items():
        found = frozenset(_above(place, inputs, used, held, here))
        feeds.update((name, found) for name in here)
    return order, feeds


def _meetings(leaf: Any, users: Mapping[Any, list[Any]], inputs: Mapping[Any, list[Any]]) -> Iterator[Any]:
    """The operations at which a parameter, reshaped or not, meets something else."""
    waiting, seen = [leaf], {leaf}
    while waiting:
        node = waiting.pop()
        if len(inputs[node]) > 1 or not users.get(node):
            yield node
            continue
        for user in users[node]:
            if user not in seen:
                seen.add(user)
                waiting.append(user)


def _first(nodes: Iterator[Any]) -> Any:
    return min(nodes, key=lambda node: node._sequence_nr())  # noqa: SLF001


def _above(
    place: Any,
    inputs: Mapping[Any, list[Any]],
    used: Mapping[Any, set[str]],
    held: Mapping[Any, str],
    here: set[str],
) -> Iterator[str]:
    """The parameters used nearest above an operation."""
    waiting, seen = list(inputs[place]), set(inputs[place])
    while waiting:
        node = waiting.pop()
        if node in held:
            continue
        if node in used:
            yield from used[node] - here
            continue
        for above in inputs[node]:
            if above not in seen:
                seen.add(above)
                waiting.append(above)


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


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from _tensors(getattr(value, entry.name))
