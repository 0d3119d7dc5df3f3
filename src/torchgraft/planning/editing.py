"""Changes to a plan after it was made: another mode, or a tensor left fresh after all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from torchgraft.adapting import Moded, with_mode
from torchgraft.anatomy.patterns import matches
from torchgraft.errors import AdaptError, ModelError
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.quantised import with_scales

__all__ = ["in_mode", "left_fresh", "without_takers"]


def in_mode(targets: Sequence[TargetEntry], name: str, mode: object) -> tuple[TargetEntry, ...]:
    """The entries, with the steps of those that `name` means in another mode.

    Raises:
        ModelError: There is no such tensor.
        AdaptError: None of them is changed in a mode, or there is no such mode.
    """
    meant = _meant(targets, name)
    changed = {entry.name: entry for entry in meant if any(isinstance(op, Moded) for op in entry.ops)}
    if not changed:
        have = [entry.name for entry in targets if any(isinstance(op, Moded) for op in entry.ops)]
        raise AdaptError(
            f"nothing is done to it in a mode that could be chosen: {meant[0].why}",
            where=name,
            hint=f"there are modes for {', '.join(have[:5])}" if have else None,
        )
    return tuple(_moded(entry, mode) if entry.name in changed else entry for entry in targets)


def left_fresh(targets: Sequence[TargetEntry], name: str) -> tuple[TargetEntry, ...]:
    """The entries, with those that `name` means fresh, and declared so.

    Raises:
        ModelError: There is no such tensor.
    """
    meant = {entry.name for entry in _meant(targets, name)}
    why = "declared as new after the plan was made"
    return tuple(
        replace(entry, status="fresh", why=why, ops=(), joined=(), declared=True)
        if entry.name in meant
        else entry
        for entry in targets
    )


def without_takers(sources: Sequence[SourceEntry], targets: Sequence[TargetEntry]) -> tuple[SourceEntry, ...]:
    """The checkpoint's entries, with those unused that no tensor is filled from any more."""
    taken = with_scales([key for entry in targets for key in entry.sources], sources)
    return tuple(
        replace(entry, status="unused", why="its place in the model was declared as new")
        if entry.status == "used" and entry.name not in taken
        else entry
        for entry in sources
    )


def _meant(targets: Sequence[TargetEntry], name: str) -> list[TargetEntry]:
    meant = [entry for entry in targets if matches(entry.name, name)]
    if not meant:
        near = get_close_matches(name, [entry.name for entry in targets], n=3, cutoff=0.5)
        raise ModelError(
            "there is no such tensor in the plan", where=name, hint=f"near it: {near}" if near else None
        )
    return meant


def _moded(entry: TargetEntry, mode: object) -> TargetEntry:
    ops = with_mode(entry.ops, mode)
    why = entry.why
    for old, new in zip(entry.ops, ops, strict=True):
        why = why.replace(old.describe(), new.describe(), 1)
    return replace(entry, ops=ops, why=why)
