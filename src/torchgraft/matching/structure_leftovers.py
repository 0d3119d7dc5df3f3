"""Layers whose class differs in size between the sides: the last to be paired, and only if unique."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

from torchgraft.matching.structure_align import Link
from torchgraft.matching.structure_containers import Around, near
from torchgraft.matching.structure_modules import COUNTER, Module, by_signature

__all__ = ["same_block", "stem_and_head"]


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
        one, other = (
            _unique(
                [m for m in side if m.is_matrix and _is_table(m) == (part == "table")],
                partial(_masked, dimension=dimension),
            )
            for side in (ours, theirs)
        )
        shared = one.keys() & other.keys()
        if len(shared) == 1:
            (key,) = shared
            yield Link(one[key], other[key], f"the only one left that may be the {part}")


def _is_table(module: Module) -> bool:
    """Whether it is a bare parameter of shape (1, length, channels), as position embeddings are."""
    shape = module.main.shape
    return len(shape) == 3 and shape[0] == 1


def _masked(module: Module, dimension: int) -> Hashable:
    """Leaves and shapes, with one dimension left out: inputs (1) of kernels, or outputs (0) of everything."""
    return tuple(
        sorted(
            (leaf, len(t.shape), t.shape[:dimension] + t.shape[dimension + 1 :])
            for leaf, t in module.leaves.items()
            if leaf != COUNTER
        )
    )


def _unique(modules: Sequence[Module], key: Callable[[Module], Hashable]) -> dict[Hashable, Module]:
    groups: dict[Hashable, list[Module]] = defaultdict(list)
    for module in modules:
        groups[key(module)].append(module)
    return {k: group[0] for k, group in groups.items() if len(group) == 1}
