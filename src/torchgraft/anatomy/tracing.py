"""One run of the model, recorded as a graph of its layers: which saw the input, which made the outputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.class_outputs import class_outputs
from torchgraft.anatomy.meta_twin import QuickNorms, meta_twin, on_meta
from torchgraft.anatomy.nested_tensors import tensors_in
from torchgraft.anatomy.sites import matrix_layers
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["Trace", "run"]

_log = logging.getLogger(__name__)

_INPUT = -1

_LARGE = 8_000_000
"""Parameters of models that take longer to run than to be copied without values."""


@dataclass
class Trace:
    """What a run showed. Calls of layers are numbered in the order in which they began.

    Attributes:
        paths: For each call, the layer's module path.
        feeds: For each call, the calls its inputs come from directly; -1 is the model's input.
        outputs: For each output tensor, the calls it comes from directly.
        output_shapes: The shape of each output tensor.
        loose: Parameters that an output depends on after its last layers, though no layer holds them.
        normed: Whether norms with parameters of their own stand between the last layers and the outputs.
        direct: Whether a layer's output is an output as it is.
        identities: For each `nn.Identity` that was called, the shape it was given last.
        handed_on: Those of them that gave the model's only output, in the order of the run.
        unread: Calls whose result went nowhere: into no other layer and no output, classes or not.
        names: Of all the model's outputs, if it gives a mapping.
    """

    paths: list[str] = field(default_factory=list)
    feeds: list[set[int]] = field(default_factory=list)
    outputs: list[set[int]] = field(default_factory=list)
    output_shapes: list[tuple[int, ...]] = field(default_factory=list)
    loose: set[str] = field(default_factory=set)
    normed: bool = False
    direct: bool = False
    identities: dict[str, tuple[int, ...]] = field(default_factory=dict)
    handed_on: list[str] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    names: tuple[str, ...] = ()

    def stems(self) -> list[str]:
        """Paths of layers whose input comes from the model's input alone."""
        stems = [path for path, feeds in zip(self.paths, self.feeds, strict=True) if feeds == {_INPUT}]
        if not stems:  # the input was detached on the way: whatever saw nothing learned is nearest to it
            stems = [path for path, feeds in zip(self.paths, self.feeds, strict=True) if not feeds][:1]
        return list(dict.fromkeys(stems))

    def heads(self) -> list[str]:
        """Paths of layers that give an output and feed nothing that gives one.

        An output to which layers contribute at different depths is a sum of features: it has no head.
        """
        candidates = [sources - {_INPUT} for sources in self.outputs]
        above = {call: self._above(call) for call in set().union(*candidates)}
        levels = [
            calls
            for calls in candidates
            if not any(call in above[other] for call in calls for other in calls)
        ]
        last = set().union(*levels)
        ending = sorted(call for call in last if not any(call in above[other] for other in last))
        return list(dict.fromkeys(self.paths[call] for call in ending))

    def _above(self, call: int) -> set[int]:
        """All calls that feed this one, directly or not."""
        found: set[int] = set()
        waiting = list(self.feeds[call])
        while waiting:
            feeder = waiting.pop()
            if feeder not in found and feeder != _INPUT:
                found.add(feeder)
                waiting.extend(self.feeds[feeder])
        return found


def run(model: nn.Module, example: object, *, training: bool = False) -> Trace:
    """Run the model on the example and leave it as it was.

    A large one is run without values, on the meta device, unless its code asks for them: what is recorded
    is the same, and takes a fraction of the time.

    Args:
        model: On any device, meta included.
        example: A tensor, a tuple of positional arguments, or a mapping of keyword arguments.
        training: Whether it is run as for learning, but for norms over the batch, rather than for evaluation.

    Raises:
        Exception: Whatever the model raises.
    """
    if _is_large(model):
        try:
            return _run(meta_twin(model), on_meta(example), training)
        except Exception:  # somebody else's model may raise anything
            _log.debug("%s can't be run on the meta device", type(model).__name__, exc_info=True)
    return _run(model, example, training)


def _is_large(model: nn.Module) -> bool:
    parameters = list(model.parameters())
    return sum(one.numel() for one in parameters) >= _LARGE and not any(one.is_meta for one in parameters)


def _run(model: nn.Module, example: object, training: bool) -> Trace:
    recorder = _Recorder()
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model, training=training))
        if any(parameter.is_meta for parameter in model.parameters()):
            stack.enter_context(QuickNorms())
        for path, module in matrix_layers(model):
            before = module.register_forward_pre_hook(recorder.before(path), with_kwargs=True)
            after = module.register_forward_hook(recorder.after)
            stack.callback(before.remove)
            stack.callback(after.remove)
        for path, module in model.named_modules():
            if isinstance(module, nn.Identity):
                stack.callback(module.register_forward_hook(recorder.handed(path)).remove)
        arguments = recorder.watched(example)
        call = getattr(model, "_orig_mod", model)  # torch.compile would compile the hooks too
        if isinstance(arguments, Mapping):
            outputs = call(**arguments)
        elif isinstance(arguments, tuple | list):
            outputs = call(*arguments)
        else:
            outputs = call(arguments)
        return recorder.finish(model, outputs)


class _Recorder:
    """Remembers the autograd nodes at which layers begin and end; reads the graph between them at the end."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._inputs: list[tuple[list[Any], bool]] = []
        self._running: list[tuple[nn.Module, int]] = []
        self._made_by: dict[Any, int] = {}
        self._whole_inputs: set[int] = set()
        self._identities: dict[str, tuple[Any, tuple[int, ...]]] = {}

    def watched(self, example: object) -> Any:
        """The example with its floating tensors as the start of a graph."""
        if isinstance(example, torch.Tensor):
            if not (example.is_floating_point() or example.is_complex()):
                self._whole_inputs.add(_storage(example))
                return example
            # A copy, for the example may come from inference mode; not a leaf, for a model may write to it.
            start = example.detach().clone().requires_grad_().clone()
            self._made_by[start.grad_fn] = _INPUT
            return start
        if isinstance(example, Mapping):
            return {key: self.watched(value) for key, value in example.items()}
        if isinstance(example, tuple | list):
            return tuple(self.watched(value) for value in example)
        return example

    def before(self, path: str) -> Any:
        def hook(module: nn.Module, args: object, kwargs: object) -> None:
            self._running.append((module, len(self._paths)))
            self._paths.append(path)
            tensors = list(tensors_in((args, kwargs)))
            # The nodes are read now: a later in-place operation on the tensor would give it another.
            nodes = [tensor.grad_fn for tensor in tensors]
            self._inputs.append((nodes, any(_storage(tensor) in self._whole_inputs for tensor in tensors)))

        return hook

    def after(self, module: nn.Module, _: object, output: object) -> None:
        while self._running:
            begun, call = self._running.pop()
            if begun is module:
                break
        for tensor in tensors_in(output):
            # A later in-place operation on a view leads past the view's node to the viewed tensor's.
            whole = tensor._base if tensor._is_view() else None  # noqa: SLF001  # there is no public way
            for node in {held.grad_fn for held in (tensor, whole) if held is not None}:
                if node is not None and node not in self._inputs[call][0]:
                    self._made_by.setdefault(node, call)

    def handed(self, path: str) -> Any:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                self._identities.pop(path, None)  # so that the order is that of the last calls
                self._identities[path] = (output.grad_fn, tuple(output.shape))

        return hook

    def finish(self, model: nn.Module, every: object) -> Trace:
        outputs = list(tensors_in(class_outputs(every)))
        trace = Trace(paths=self._paths, output_shapes=[tuple(tensor.shape) for tensor in outputs])
        trace.names = tuple(map(str, every)) if isinstance(every, Mapping) else ()
        for nodes, sees_whole in self._inputs:
            calls, _ = self._sources(nodes)
            if sees_whole:
                calls.add(_INPUT)
            trace.feeds.append(calls)
        held = {id(parameter): name for name, parameter in model.named_parameters()}
        layers = {id(parameter) for _, layer in matrix_layers(model) for parameter in layer.parameters()}
        for output in outputs:
            calls, leaves = self._sources([output.grad_fn])
            trace.outputs.append(calls)
            outside = [leaf for leaf in leaves if id(leaf) in held and id(leaf) not in layers]
            matrices = [leaf for leaf in outside if sum(size > 1 for size in leaf.shape) >= 2]
            trace.loose.update(held[id(leaf)] for leaf in matrices)
            trace.direct |= output.grad_fn in self._made_by
            trace.normed |= any(leaf.ndim == 1 and leaf.numel() > 1 for leaf in outside)
        trace.identities = {path: shape for path, (_, shape) in self._identities.items()}
        if len(outputs) == 1 and (end := outputs[0].grad_fn) is not None:
            trace.handed_on = [path for path, (node, _) in self._identities.items() if node is end]
        read, _ = self._sources([output.grad_fn for output in tensors_in(every)])
        read = read.union(*trace.feeds)
        trace.unread = [call for call in range(len(trace.paths)) if call not in read]
        return trace

    def _sources(self, nodes: list[Any]) -> tuple[set[int], list[torch.Tensor]]:
        """The calls nearest above these nodes of the graph, and the parameters met on the way."""
        calls: set[int] = set()
        leaves: list[torch.Tensor] = []
        waiting: list[Any] = [node for node in nodes if node is not None]
        seen = set(waiting)
        while waiting:
            node = waiting.pop()
            if node in self._made_by:
                calls.add(self._made_by[node])
                continue
            if hasattr(node, "variable"):
                leaves.append(node.variable)
            for above, _ in node.next_functions:
                if above is not None and above not in seen:
                    seen.add(above)
                    waiting.append(above)
        return calls, leaves


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  # data_ptr is 0 for every meta tensor
