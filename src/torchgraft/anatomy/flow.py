"""In which order a model uses its parameters, and which feed which: read off one run on shapes alone."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from torchgraft.anatomy.example_inputs import guesses
from torchgraft.anatomy.meta_twin import on_meta
from torchgraft.anatomy.nested_tensors import tensors_in
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["ParameterFlow", "parameter_flow"]

_log = logging.getLogger(__name__)


class ParameterFlow(NamedTuple):
    """How the parameters that an output depends on are used.

    Attributes:
        order: A number for each parameter that grows in the order of use.
        above: For each of them those whose results flow into where it is used, with none in between: a set of
            bits, in which bit k stands for the k-th parameter in `order`.
        below: Those that its result flows into, likewise.
    """

    order: dict[str, int]
    above: dict[str, int]
    below: dict[str, int]


def parameter_flow(model: nn.Module, example: object = None) -> ParameterFlow | None:
    """Run the model on the meta device, where nothing is computed, and read the graph of its parameters.

    Args:
        model: Left as it was.
        example: An input it takes; guessed if not given.

    Returns:
        What it shows; `None` if the model takes no input tried.
    """
    if isinstance(model, torch.jit.ScriptModule):
        return None
    for attempt in [example] if example is not None else guesses(model):
        try:
            return _run(model, attempt)
        except Exception:  # somebody else's model may raise anything
            _log.debug("the model does not run on such an input", exc_info=True)
    return None


def _run(model: nn.Module, example: object) -> ParameterFlow:
    with undisturbed(model):
        shapes = {
            name: torch.empty_like(parameter, device="meta").requires_grad_(parameter.is_floating_point())
            for name, parameter in model.named_parameters()
        }
        others = {name: torch.empty_like(buffer, device="meta") for name, buffer in model.named_buffers()}
        arguments = on_meta(example)
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
    return _read([t.grad_fn for t in tensors_in(result) if t.grad_fn is not None], names)


def _read(outputs: list[Any], names: Mapping[int, str]) -> ParameterFlow:
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
    order: dict[str, int] = {}
    here: dict[Any, int] = defaultdict(int)
    place_of: dict[str, Any] = {}
    for leaf in inputs:
        name = names.get(id(getattr(leaf, "variable", None)))
        if name is not None:
            place = place_of[name] = _first(_meetings(leaf, users, inputs))
            here[place] |= 1 << len(order)
            order[name] = place._sequence_nr()  # noqa: SLF001  # autograd's own count of operations; no other way
    nodes = _inputs_first(inputs, users)
    above, below = _nearest(nodes, inputs, here), _nearest(nodes[::-1], users, here)
    return ParameterFlow(
        order,
        {name: above[place] for name, place in place_of.items()},
        {name: below[place] for name, place in place_of.items()},
    )


def _inputs_first(inputs: Mapping[Any, list[Any]], users: Mapping[Any, list[Any]]) -> list[Any]:
    """The operations, each after all whose results it takes."""
    missing = {node: len(above) for node, above in inputs.items()}
    ready = [node for node, count in missing.items() if not count]
    for node in ready:  # grows on the way
        for user in users.get(node, ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    return ready


def _nearest(nodes: list[Any], beside: Mapping[Any, list[Any]], here: Mapping[Any, int]) -> dict[Any, int]:
    """For each operation the parameters used nearest on one side, as bits.

    Args:
        nodes: Each after its neighbours on that side.
        beside: Those neighbours.
        here: The parameters used at an operation.
    """
    found: dict[Any, int] = {}
    for node in nodes:
        bits = 0
        for neighbour in beside.get(node, ()):
            bits |= here.get(neighbour) or found[neighbour]
        found[node] = bits
    return found


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
