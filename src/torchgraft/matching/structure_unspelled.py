"""Layers that are fused on one side, and no name says in which order: found, and refused with a hint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching.structure_modules import Module

__all__ = ["refuse_unspelled"]

_FEW = range(2, 4)
"""How many layers are fused into one."""


def refuse_unspelled(ours: Sequence[Module], theirs: Sequence[Module]) -> None:
    """Raise if an open layer is as large as two or three open siblings of one shape together.

    Raises:
        AmbiguousMatchError: There is one.
    """
    for whole, split in ((ours, theirs), (theirs, ours)):
        siblings: dict[tuple[object, ...], list[Module]] = defaultdict(list)
        for module in split:
            if "weight" in module.leaves and module.is_matrix:
                siblings[(module.path[:-1], module.signature())].append(module)
        for module in whole:
            for group in siblings.values():
                if len(group) in _FEW and _as_large(module, group):
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
