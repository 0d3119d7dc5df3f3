"""Chooses which set of tensors is the weights, and says why; or refuses and says what would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from torchgraft.checkpoint.parts import Part
from torchgraft.errors import NoWeightsError

__all__ = ["choose_part", "find_part"]

_DWARFS = 20
"""A set that has this many times the elements of every other one is the weights; a GAN's two networks, or a
detector and its backbone, are nearer to each other than that."""


def choose_part(parts: Sequence[Part], *, where: str) -> tuple[Part, str]:
    """The part that is the weights, and why.

    Raises:
        NoWeightsError: There is none, or several fit equally.
    """
    weights = sorted((part for part in parts if part.kind == "weights"), key=lambda part: -part.numel)
    if not weights:
        raise NoWeightsError(
            "holds no weights" + (f": only {_listed(parts)}" if parts else ""),
            where=where,
            hint=f"if one of these is what you want: select={parts[0].name!r}"
            if parts and parts[0].name
            else None,
        )
    if len(weights) == 1:
        others = [part for part in parts if part is not weights[0]]
        return weights[0], f"the only set of weights beside {_listed(others)}" if others else "all there is"
    first, second = weights[:2]
    if first.numel >= _DWARFS * second.numel:
        return first, f"over {_DWARFS} times larger than the next set, {_shown(second)}"
    raise NoWeightsError(
        f"holds {len(weights)} sets of weights, and nothing says which is meant: {_listed(weights)}",
        where=where,
        hint=f"choose one: select={first.name!r}; or take them together: select='.'",
    )


def find_part(parts: Sequence[Part], select: str, *, where: str) -> tuple[Part, str]:
    """The part that the user names, and why: by its path, the end of it, or a word in it (`"ema"`).

    A word is looked for among the weights and their copies, first in the last name of the path
    (`state_dict_ema`), then in any (`ema.module`).

    Raises:
        NoWeightsError: No part, or several, are called so.
    """
    exact = [part for part in parts if part.name == select]
    found = exact or [part for part in parts if part.name.endswith(f".{select}")]
    if len(found) == 1:
        return found[0], "as asked"
    if not found and (word := select.lower()):
        sets = [part for part in parts if part.kind in ("weights", "copy")]
        found = [part for part in sets if word in part.name.rpartition(".")[2].lower()] or [
            part for part in sets if word in part.name.lower()
        ]
        if len(found) == 1:
            return found[0], f"the only set of weights with {select!r} in its name"
    near = get_close_matches(select, [part.name for part in parts if part.name], n=1)
    raise NoWeightsError(
        f"has {'no part' if not found else f'{len(found)} parts'} called {select!r}",
        where=where,
        hint=(f"did you mean select={near[0]!r}? It" if near and not found else "it")
        + f" has {_listed(found or parts)}",
    )


def _listed(parts: Sequence[Part]) -> str:
    shown = ", ".join(_shown(part) for part in parts[:6])
    return f"{shown}, … ({len(parts)} in all)" if len(parts) > 6 else shown


def _shown(part: Part) -> str:
    return f"{part.name or 'the root'} ({part.kind}, {part.tensors} tensors, {part.numel:,} elements)"
