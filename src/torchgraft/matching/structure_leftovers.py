"""Layers whose class differs in size between the sides: the last to be paired, and only if unique."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence

from torchgraft.matching.structure_containers import Around, near
from torchgraft.matching.structure_link import Link
from torchgraft.matching.structure_modules import Module, Signature, by_signature

__all__ = ["same_architecture", "same_block", "stem_and_head"]

_REPLACED = 3
"""Layers that may have other shapes in the same architecture: a stem, a position table and a head."""


def same_architecture(ours: Sequence[Module], theirs: Sequence[Module]) -> bool:
    """Whether all layers have their like on the other side, but for a stem, a position table and a head.

    A model with one block more also has classes of unequal size. Nothing tells which block is the additional
    one, so none of them can be trusted.
    """
    surplus = _surplus(ours, theirs), _surplus(theirs, ours)
    if not len(surplus[0]) == len(surplus[1]) <= _REPLACED:
        return False
    masked = [{_masked(signature, d) for signature in side for d in (0, 1)} for side in surplus]
    return all(
        any(_masked(signature, d) in others for d in (0, 1))
        for side, others in zip(surplus, reversed(masked), strict=True)
        for signature in side
    )


def same_block(
    ours: Sequence[Module], theirs: Sequence[Module], around: tuple[Around, Around]
) -> Iterator[Link]:
    """Pair layers that are the only ones of their shape among the same settled neighbours.

    A stem of one channel may look like a depthwise convolution, so that a class has one member more on one
    side; its block still tells the other one.
    """
    everything = around[0].get((), frozenset())
    by_class = by_signature(ours, squeezed=False), by_signature(theirs, squeezed=False)
    for signature, mine in by_class[0].items():
        yours = by_class[1].get(signature, [])
        one, other = _unique(mine, lambda m: near(m, around[0])), _unique(yours, lambda m: near(m, around[1]))
        for place in one.keys() & other.keys():
            if place and place != everything:
                yield Link(one[place], other[place], "the only one of its shape in the same block")


def stem_and_head(ours: Sequence[Module], theirs: Sequence[Module]) -> Iterator[Link]:
    """Pair the only layers left that differ in inputs (stem), length (position table) or classes (head)."""
    for part, dimension in (("stem", 1), ("table", 1), ("head", 0)):
        one, other = (_candidates(side, dimension, tables=part == "table") for side in (ours, theirs))
        shared = one.keys() & other.keys()
        if len(shared) == 1:
            (key,) = shared
            yield Link(one[key], other[key], f"the only one left that may be the {part}")


def _candidates(modules: Sequence[Module], dimension: int, *, tables: bool) -> dict[Hashable, Module]:
    layers = [module for module in modules if module.is_matrix and _is_table(module) == tables]
    return _unique(layers, lambda module: _masked(module.signature(), dimension))


def _is_table(module: Module) -> bool:
    """Whether it is a bare parameter of shape (1, length, channels), as position embeddings are."""
    shape = module.main.shape
    return len(shape) == 3 and shape[0] == 1


def _surplus(modules: Sequence[Module], others: Sequence[Module]) -> list[Signature]:
    counts = (
        Counter(module.signature() for module in side if module.is_matrix) for side in (modules, others)
    )
    return list((next(counts) - next(counts)).elements())


def _masked(signature: Signature, dimension: int) -> Hashable:
    """The shapes with one dimension left out: inputs (1) of kernels, or outputs (0) of everything."""
    return tuple((leaf, len(shape), shape[:dimension] + shape[dimension + 1 :]) for leaf, shape in signature)


def _unique(modules: Sequence[Module], key: Callable[[Module], Hashable]) -> dict[Hashable, Module]:
    groups: dict[Hashable, list[Module]] = defaultdict(list)
    for module in modules:
        groups[key(module)].append(module)
    return {k: group[0] for k, group in groups.items() if len(group) == 1}
