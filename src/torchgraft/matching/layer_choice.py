"""Which blocks of a checkpoint of another depth go to which of the model: renumbered as the user says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from torchgraft.errors import MatchError
from torchgraft.matching.pieces import Piece
from torchgraft.matching.stacks import Path, Stack, stacks_of
from torchgraft.matching.structure_modules import modules_of

__all__ = ["ChosenLayers", "LayerChoice", "Layers", "choose_layers"]

Layers: TypeAlias = str | Sequence[int | None]
"""`"even"`, `"every 2"`, `"first"`, `"last"`, or for each block of the model the checkpoint's, from 0."""

LayerChoice: TypeAlias = Layers | Mapping[str, Layers]
"""The same for every stack of blocks whose length differs, or by the stack's name: `{"encoder.layer": …}`."""

_EVERY = re.compile(r"every (\d+)")
_HINT = 'use "even", "every 2", "first", "last", or a list such as [0, 2, 4, 7, 9, 11]'


@dataclass(frozen=True, slots=True)
class ChosenLayers:
    """The checkpoint's tensors, renumbered.

    Attributes:
        pieces: Those of blocks that were chosen, under their new numbers (one that was chosen twice is there
            twice), and of what is in no stack.
        dropped: The origins of the others.
        notes: Which blocks go where, a line a stack.
    """

    pieces: list[Piece]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def choose_layers(sources: Sequence[Piece], targets: Sequence[Piece], choice: LayerChoice) -> ChosenLayers:
    """Renumber the blocks of stacks that both have, so that the chosen ones meet the model's by number.

    With n blocks in the checkpoint and m in the model:

    | choice | block i of the model gets |
    |---|---|
    | `"even"` | round(i (n - 1) / (m - 1)): the first, the last, and evenly between; for m > n some twice |
    | `"every k"` | i k, the first of each k; needs m = ⌈n / k⌉ |
    | `"first"`, `"last"` | i, and i + n - m; needs m ≤ n |
    | a list of m | the block with this number, which may be there several times; `None`: nothing |

    Sources:
        `"every 2"`: Sanh et al., DistilBERT (2019), "one layer out of two". `"even"`: for 12 → 6 the layers
        of its script and DistilBART's: 0, 2, 4, 7, 9, 11. Lists with repeats: depth up-scaling of Kim et al.,
        SOLAR 10.7B (2023).

    Raises:
        MatchError: There is no stack that it could be about, or it does not fit one.
    """
    ours, theirs = stacks_of(modules_of(sources)), stacks_of(modules_of(targets))
    pairs = list(
        _named(ours, theirs, choice) if isinstance(choice, Mapping) else _uneven(ours, theirs, choice)
    )
    if not pairs:
        listed = ", ".join(f"{stack.name} ({len(stack.blocks)})" for stack in theirs[:5]) or "none"
        raise MatchError(
            f"layers={choice!r}: no stack of blocks is of another length in the model; its stacks: {listed}",
            hint='name a stack to choose in it all the same: layers={"encoder.layer": [0, 2, 4]}',
        )
    pieces, notes = list(sources), []
    for one, other, layers in pairs:
        chosen = _numbers(layers, one, other)
        pieces = _renumbered(pieces, one, [path[-1] for path in other.blocks], chosen)
        shown = ", ".join("none" if number is None else str(number) for number in chosen)
        notes.append(f"blocks {shown} of {one.name!r} ({len(one.blocks)}) go to {len(chosen)} of the model")
    kept = {piece.origin for piece in pieces}
    dropped = tuple(dict.fromkeys(piece.origin for piece in sources if piece.origin not in kept))
    return ChosenLayers(pieces, dropped, tuple(notes))


def _uneven(
    ours: Sequence[Stack], theirs: Sequence[Stack], layers: Layers
) -> Iterator[tuple[Stack, Stack, Layers]]:
    """The outermost stacks that both have, in different lengths."""
    done: list[Path] = []
    for other in sorted(theirs, key=lambda stack: len(stack.blocks[0])):
        one = _partner(other, ours, theirs)
        if one is None or len(one.blocks) == len(other.blocks):
            continue
        if not any(other.blocks[0][: len(path)] == path for path in done):
            done.extend(other.blocks)
            yield one, other, layers


def _named(
    ours: Sequence[Stack], theirs: Sequence[Stack], choice: Mapping[str, Layers]
) -> Iterator[tuple[Stack, Stack, Layers]]:
    for name, layers in choice.items():
        meant = [stack for stack in theirs if stack.name == name or stack.name.endswith(f".{name}")]
        one = _partner(meant[0], ours, theirs) if len(meant) == 1 else None
        if one is None:
            near = ", ".join(stack.name for stack in theirs[:5])
            raise MatchError(
                f"layers names {name!r}, which is no stack that both have", hint=f"stacks: {near}"
            )
        yield one, meant[0], layers


def _partner(other: Stack, ours: Sequence[Stack], theirs: Sequence[Stack]) -> Stack | None:
    """The checkpoint's stack for the model's: of the same name, of the name but a prefix, or alone alike."""
    for one in ours:
        if one.name == other.name:
            return one
    near = [one for one in ours if _ends(one.name, other.name) or _ends(other.name, one.name)]
    if not near:
        near = [one for one in ours if one.kinds[-1] == other.kinds[-1]]
        if sum(stack.kinds[-1] == other.kinds[-1] for stack in theirs) > 1:
            return None
    return near[0] if len(near) == 1 else None


def _ends(name: str, tail: str) -> bool:
    return name.endswith(f".{tail}")


def _numbers(layers: Layers, one: Stack, other: Stack) -> list[int | None]:
    n, m = len(one.blocks), len(other.blocks)
    where = f"{one.name!r} has {n} blocks, {other.name!r} of the model {m}"
    if isinstance(layers, str):
        every = _EVERY.fullmatch(layers.strip())
        step = int(every[1]) if every is not None else 0
        if layers == "even":
            return [round(i * (n - 1) / (m - 1)) if m > 1 else 0 for i in range(m)]
        if layers == "first" and m <= n:
            return list(range(m))
        if layers == "last" and m <= n:
            return list(range(n - m, n))
        if step and -(-n // step) == m:
            return list(range(0, n, step))
        if not step and layers not in ("first", "last"):
            raise MatchError(f"there is no way of choosing layers called {layers!r}", hint=_HINT)
        gives = f"which gives {-(-n // step)}" if step else "which needs no more than there are"
        raise MatchError(f"layers={layers!r}, {gives}: {where}", hint='"even" fits any two numbers')
    chosen = list(layers)
    if len(chosen) != m:
        raise MatchError(
            f"layers lists {len(chosen)} blocks: {where}", hint="list one for each of the model's"
        )
    for number in chosen:
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (whole and 0 <= number < n):
            raise MatchError(f"layers lists {number!r}: {where}", hint=f"they are counted from 0 to {n - 1}")
    return chosen


def _renumbered(
    pieces: Sequence[Piece], stack: Stack, names: Sequence[str], chosen: Sequence[int | None]
) -> list[Piece]:
    """The pieces, with block `chosen[i]` of the stack called `names[i]`."""
    places: dict[Path, list[str]] = {path: [] for path in stack.blocks}
    for name, number in zip(names, chosen, strict=True):
        if number is not None:
            places[stack.blocks[number]].append(re.sub(r"\d+$", "", stack.blocks[number][-1]) + _digits(name))
    depth = len(stack.blocks[0])
    found = []
    for piece in pieces:
        block = piece.path[:depth]
        if block not in places:
            found.append(piece)
            continue
        before = ".".join(block)
        for last in places[block]:
            after = (*block[:-1], last)
            if not piece.name.startswith(f"{before}."):
                raise MatchError(
                    f"layers: blocks of {stack.name!r} can't be renumbered: {piece.name!r} has no dots",
                    hint="rename them first: rename=",
                )
            name = ".".join(after) + piece.name[len(before) :]
            found.append(replace(piece, name=name, path=(*after, *piece.path[depth:])))
    return found


def _digits(component: str) -> str:
    found = re.search(r"\d+$", component)
    assert found is not None  # it is a stack's block
    return found[0]
