"""Proves that a pair can be solved, from values alone: no names, and nothing of torchgraft.

The source runs once, in float64, and each use of a weight is recorded with what else went into the operation.
Then the target runs: where one of its weights is used with the same input in the same part of the same
operation, it gets the source's weight before the operation goes on, so that what follows sees right values.
Fused and split projections are cut and joined in the order of use. The outputs say if a pair is solvable.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from matching_pairs.pairs import Pair, State
from matching_pairs.weights import call

__all__ = ["solve"]

PARTS = {
    "addmm": ("linear", {0: "bias", 2: "weight"}),
    "mm": ("linear", {1: "weight"}),
    "bmm": ("linear", {1: "weight"}),
    "convolution": ("linear", {1: "weight", 2: "bias"}),
    "native_layer_norm": ("norm", {2: "weight", 3: "bias"}),
    "native_group_norm": ("norm", {1: "weight", 2: "bias"}),
    "native_batch_norm": ("norm", {1: "weight", 2: "bias", 3: "mean", 4: "variance"}),
    "_native_batch_norm_legit_no_training": ("norm", {1: "weight", 2: "bias", 3: "mean", 4: "variance"}),
}


INPUT = {"addmm": 1, "convolution": 0}
"""Which argument is the input, where another might be a bias put together on the way."""


@dataclass
class Use:
    """One weight in one operation.

    Attributes:
        part: Which part of which operation it is.
        inputs: What tells the operation's input from others.
        flipped: Whether it is a linear weight stored as [in, out].
        copied: Whether the operation was given a copy of the weight.
    """

    name: str
    part: str
    inputs: tuple[float, ...]
    flipped: bool = False
    copied: bool = False


class Tracer(TorchDispatchMode):
    """Notes each use of a weight; `meet` is told of it before the operation runs."""

    def __init__(self, state: State, meet: Callable[[Use], None] | None = None) -> None:
        super().__init__()
        self.state, self.meet = state, meet
        self.uses: list[Use] = []
        self.names = {tensor.untyped_storage().data_ptr(): name for name, tensor in reversed(state.items())}
        self.copies: dict[int, tuple[str, ...]] = {}
        self.kept: list[torch.Tensor] = []  # so that no memory is used again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func.overloadpacket.__name__
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        weights = [leaf for leaf in leaves if self._names(leaf)]
        others = [leaf for leaf in leaves if not self._names(leaf)]
        if not weights:
            return func(*args, **kwargs)
        whole = kind == "embedding" and torch.equal(others[0].flatten(), torch.arange(others[0].numel()))
        pieces = kind == "cat" and all(leaf.ndim == 1 for leaf in leaves)
        if others and not whole and not pieces:
            for use in self._uses(kind, args, weights, others):
                self.uses.append(use)
                if self.meet is not None:
                    self.meet(use)
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        names = tuple(dict.fromkeys(name for weight in weights for name in self._names(weight)))
        if isinstance(result, torch.Tensor) and not self._names(result) and (len(names) == 1 or pieces):
            self.copies[result.untyped_storage().data_ptr()] = names
            self.kept.append(result)
        return result

    def _uses(
        self, kind: str, args: Any, weights: list[torch.Tensor], others: list[torch.Tensor]
    ) -> Iterator[Use]:
        group, parts = PARTS.get(kind, (kind, {}))
        if kind in INPUT and not self._names(args[INPUT[kind]]):
            others = [args[INPUT[kind]]]
        seen = tuple(value for other in others for value in _moments(other))
        for weight in sorted(
            weights, key=lambda weight: -weight.ndim
        ):  # a bias may have to follow its weight
            slot = next((index for index, value in enumerate(args) if value is weight), -1)
            part = parts.get(slot, "" if group in ("mul", "add") else str(slot))  # a product has no sides
            for name in self._names(weight):
                base = self.state[name]
                flipped = (
                    kind in ("addmm", "mm", "bmm") and part == "weight" and weight.ndim == base.ndim == 2
                )
                flipped = flipped and weight.stride() == base.stride() and weight.shape == base.shape
                copied = weight.untyped_storage().data_ptr() in self.copies
                yield Use(name, f"{group}.{part}", seen, flipped, copied)

    def _names(self, tensor: torch.Tensor) -> tuple[str, ...]:
        place = tensor.untyped_storage().data_ptr()
        return (self.names[place],) if place in self.names else self.copies.get(place, ())


def _moments(tensor: torch.Tensor) -> tuple[float, ...]:
    """What tells one input from another, whatever the order of its axes and its padding."""
    x = tensor.detach().double()
    return tuple(float(value) for value in (x.sum(), (x * x).sum(), (x * x * x).sum(), x.abs().sum()))


def _same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return len(a) == len(b) and all(abs(x - y) <= 1e-6 * (1 + abs(x)) for x, y in zip(a, b, strict=True))


class Again(Exception):  # noqa: N818 - a signal
    """A weight was filled after it had been copied: what follows would see the old copy."""


class DeadEnd(Exception):  # noqa: N818 - a signal
    """A weight is used with an input that the source never saw: an earlier choice among equals was wrong."""


@dataclass(frozen=True)
class Given:
    """Where a target's weight came from: source tensors joined, or one part of one."""

    names: tuple[str, ...]
    start: int = 0
    rows: int | None = None


@torch.no_grad()
def solve(pair: Pair, source: nn.Module, target: nn.Module, inputs: torch.Tensor) -> tuple[float, int]:
    """Fill the target from the source; how far the outputs are apart then, and how many tensors are left."""
    torch.backends.mha.set_fastpath_enabled(False)  # it takes all weights of a layer at once
    source, target = source.double(), target.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    with Tracer(_floats(source)) as recorded:
        expected = call(pair.source, source, inputs)
    uses = list({(use.name, use.part, use.inputs): use for use in recorded.uses}.values())
    best = (float("inf"), 0)
    for by_name in (False, True):
        filling = Filling(uses, recorded.state, _floats(target), by_name)
        missing = filling.run(lambda: call(pair.target, target, inputs))
        got = call(pair.target, target, inputs)
        if got.shape != expected.shape:
            raise ValueError(f"outputs of shapes {list(got.shape)} and {list(expected.shape)}")
        off = float((got - expected).abs().max() / expected.abs().max())
        best = min(best, (off, missing)) if off == off else best
        if best[0] < 1e-5:
            break
    return best


def _floats(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


class Filling:
    """Depth first over the choices among equals; most architectures have none."""

    tries, seconds = 80, 30.0

    def __init__(self, uses: list[Use], source: State, target: State, by_name: bool) -> None:
        self.uses, self.source, self.target, self.by_name = uses, source, target, by_name
        self.ties: dict[str, list[int]] = {}  # target name: which was chosen, of how many

    def run(self, forward: Callable[[], object]) -> int:
        strict, began = True, time.perf_counter()
        for attempt in range(self.tries):
            strict = strict and attempt < self.tries - 1 and time.perf_counter() - began < self.seconds
            self.given: dict[str, Given] = {}
            self.taken: dict[str, int] = defaultdict(int)
            try:
                before = -1
                while len(self.given) != before:
                    before = len(self.given)
                    with suppress(Again), Tracer(self.target, partial(self.meet, strict)):
                        forward()
                break
            except DeadEnd:
                while (
                    self.ties
                    and next(reversed(self.ties.values()))[0] + 1 >= next(reversed(self.ties.values()))[1]
                ):
                    self.ties.popitem()
                if self.ties:
                    next(reversed(self.ties.values()))[0] += 1
                else:
                    strict = False
        self.fill_leftovers()
        return len(self.target) - len(self.given)

    def fill_leftovers(self) -> None:
        """What is used on another part of the same vectors (a norm after pooling): the next that fits."""
        used = {name for given in self.given.values() for name in given.names}
        left = [name for name in self.source if name not in used]
        for name in self.target:
            if name in self.given:
                continue
            bias, weight = "bias" in name, self.given.get(name.replace("bias", "weight"))
            if bias and weight is not None and weight.names[0].replace("weight", "bias") in left:
                left.insert(0, weight.names[0].replace("weight", "bias"))
            fitting = [
                o
                for o in left
                if self.source[o].numel() == self.target[name].numel() and ("bias" in o) == bias
            ]
            if fitting:
                left.remove(fitting[0])
                turned = (
                    self.source[fitting[0]].ndim == 2
                    and self.source[fitting[0]].shape != self.target[name].shape
                )
                value = self.source[fitting[0]].t() if turned else self.source[fitting[0]]
                self.put(Use(name, "left", ()), value, Given((fitting[0],)))

    def meet(self, strict: bool, use: Use) -> None:
        if use.name in self.given:
            return None
        to = self.target[use.name]
        found = [other for other in self.uses if other.part == use.part and _same(other.inputs, use.inputs)]
        if self.by_name:
            found.sort(key=lambda other: -SequenceMatcher(None, other.name, use.name).ratio())
        whole = [o for o in found if self.source[o.name].numel() == to.numel() and not self.taken[o.name]]
        if whole:
            chosen = self.ties.setdefault(use.name, [0, len(whole)])[0] if len(whole) > 1 else 0
            other = whole[min(chosen, len(whole) - 1)]
            self.taken[other.name] = 1 << 60
            return self.put(use, self.laid(other), Given((other.name,)))
        rows = (to.t() if use.flipped else to).shape[0] if to.ndim else 1
        for other in found:  # one of the parts of a fused one
            value, start = self.laid(other), self.taken[other.name]
            if value.ndim and value.shape[1:].numel() * rows == to.numel() and start + rows <= value.shape[0]:
                self.taken[other.name] += rows
                return self.put(use, value[start : start + rows], Given((other.name,), start, rows))
        parts = [other for other in found if 0 < self.source[other.name].numel() < to.numel()]
        if sum(self.source[other.name].numel() for other in parts) == to.numel():  # a fused one of parts
            joined = torch.cat([self.laid(other).reshape(-1) for other in parts])
            return self.put(use, joined, Given(tuple(other.name for other in parts)))
        again = [other for other in found if self.source[other.name].numel() == to.numel()]
        if again:  # a second copy in the target
            return self.put(use, self.laid(again[0]), Given((again[0].name,)))
        return self.beside_its_weight(use, strict)

    def beside_its_weight(self, use: Use, strict: bool) -> None:
        """A bias that one of the two adds by itself goes where its weight went."""
        weight = self.given.get(use.name.replace("bias", "weight"))
        if "bias" in use.name and weight is not None:
            values = [self.source.get(name.replace("weight", "bias")) for name in weight.names]
            if all(value is not None for value in values):
                joined = torch.cat(values)
                joined = joined if weight.rows is None else joined[weight.start : weight.start + weight.rows]
                if joined.numel() == self.target[use.name].numel():
                    return self.put(use, joined, weight)
        if strict and use.part.endswith((".weight",)):
            raise DeadEnd(use.name)
        return None

    def laid(self, use: Use) -> torch.Tensor:
        value = self.source[use.name]
        return value.t() if use.flipped else value

    def put(self, use: Use, value: torch.Tensor, given: Given) -> None:
        self.given[use.name] = given
        to = self.target[use.name]
        to.copy_(value.reshape(to.t().shape).t() if use.flipped else value.reshape(to.shape))
        if use.copied:
            raise Again(use.name)
