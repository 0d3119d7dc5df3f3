"""Layers that are fused on one side, and no name says in which order: found, and refused with a hint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from torchgraft.adapting.ops import Shape
from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.structure_modules import Module

__all__ = ["refuse_unspelled", "unspelled"]

_FEW = range(2, 4)
"""How many layers are fused into one."""


def unspelled(ours: Sequence[Module], theirs: Sequence[Module]) -> list[tuple[Module, list[Module]]]:
    """Open layers that are as large as two or three open siblings of the other side together; and those."""
    found = []
    for whole, split in ((ours, theirs), (theirs, ours)):
        siblings: dict[tuple[object, ...], list[Module]] = defaultdict(list)
        for module in split:
            if "weight" in module.leaves and module.is_matrix:
                siblings[(module.path[:-1], module.signature())].append(module)
        groups: dict[Shape, list[list[Module]]] = defaultdict(list)
        for group in siblings.values():
            rows, *rest = group[0].leaves["weight"].shape
            if len(group) in _FEW:
                groups[(len(group) * rows, *rest)].append(group)
        for module in whole:
            weight = module.leaves.get("weight")
            fitting = groups.get(weight.shape, []) if weight is not None else []
            found += [(module, group) for group in fitting if _as_large(module, group)][:1]
    return found


def refuse_unspelled(found: Sequence[tuple[Module, Sequence[Module]]]) -> None:
    """Raise for the first of these.

    Raises:
        AmbiguousMatchError: There is one.
    """
    for module, group in found:
        raise _refusal(module, group)


def _as_large(module: Module, group: Sequence[Module]) -> bool:
    one = group[0]
    if module.leaves.keys() != one.leaves.keys():
        return False
    shapes = ((module.leaves[leaf].shape, one.leaves[leaf].shape) for leaf in one.leaves)
    return all(
        whole and part and whole[0] == len(group) * part[0] and whole[1:] == part[1:]
        for whole, part in shapes
    )


def _refusal(module: Module, group: Sequence[Module]) -> AmbiguousMatchError:
    names = [part.path[-1] for part in group]
    last, spelled = module.path[-1], "+".join(names)
    return AmbiguousMatchError(
        f"{module.main.name!r} is as large as {', '.join(map(repr, names))} together, and nothing says in "
        "which order they lie in it",
        hint=f'say it: fused={{"{last}": "{spelled}"}} (--fused {last}={spelled}) for this order, or another',
    )
