"""Which tensor of a checkpoint belongs to which tensor of a model. Sees names, shapes and dtypes only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import get_args

from torchgraft.errors import MatchError
from torchgraft.matching.completing import completed
from torchgraft.matching.exact import match_exact, match_same
from torchgraft.matching.flow import Flow, FlowOf
from torchgraft.matching.guidance import Guidance, Mode
from torchgraft.matching.hypotheses import HYPOTHESES
from torchgraft.matching.layer_choice import LayerChoice, choose_layers
from torchgraft.matching.layouts import usual, voted
from torchgraft.matching.pieces import Piece, pieces_of
from torchgraft.matching.prefixes import match_prefixes
from torchgraft.matching.refusals import nothing_matches
from torchgraft.matching.renames import Renames, apply_renames
from torchgraft.matching.result import Matching, Pair, Part
from torchgraft.tensors import Named

__all__ = ["Flow", "LayerChoice", "Matching", "Mode", "Pair", "Part", "Renames", "match"]


def match(
    sources: Sequence[Named],
    targets: Sequence[Named],
    *,
    rename: Renames | None = None,
    mode: Mode = "auto",
    layouts: Mapping[str, str] | None = None,
    fused: Mapping[str, str] | None = None,
    layers: LayerChoice | None = None,
    repeated: tuple[Collection[str], Collection[str]] = ((), ()),
    flow_of: FlowOf | None = None,
) -> Matching:
    """Pair the tensors of a checkpoint with those of a model.

    Args:
        sources: The checkpoint's tensors in file order, names distinct.
        targets: The model's, in state-dict order, names distinct.
        rename: Rules for the sources' names, applied first; see `Renames`.
        mode: `"auto"` takes the first of these that explains the two lists: equal names; a prefix
            added or removed; shapes, numbers and structure. `"exact"` takes equal names only, however
            few. `"order"` is `"auto"`, but pairs in file order what nothing else tells apart.
        layouts: How tensors of the checkpoint lie, in letters, by their names (after `rename`): `"IO"` for a
            transposed `Linear`, `"HWIO"` for a kernel, `"OHWI"` for a flattened patch.
        fused: What a component of a name is fused from, on either side, where the name does not say so:
            `{"fc1": "gate+up"}`.
        layers: Which blocks of a checkpoint of another depth are taken; see `choose_layers`.
        repeated: Names, of the checkpoint and of the model, of tensors that another name stands for, too.
        flow_of: Runs the model and says how it uses its tensors; asked where names and shapes leave a tie.

    Returns:
        Pairs under the checkpoint's original names, and what is left on either side.

    Raises:
        MatchError: Nothing explains the two lists, or a rename rule can't be used.
        AmbiguousMatchError: Two pairings fit equally well; the hint settles which.
    """
    if mode not in get_args(Mode):
        raise MatchError(
            f"there is no way of matching called {mode!r}", hint='match="auto", "exact" or "order"'
        )
    if not sources or not targets:
        raise nothing_matches(sources, targets, mode)
    names, notes = apply_renames([source.name for source in sources], rename)
    if not layouts and layers is None and (same := match_same(sources, names, targets)) is not None:
        return replace(same, notes=tuple(notes))
    ours = usual(pieces_of(_laid(sources, names, layouts or {}), names))
    theirs = usual(pieces_of(targets))
    guidance = Guidance(mode, flow_of, fused or {})
    dropped: tuple[str, ...] = ()
    if layers is not None:
        chosen = choose_layers(ours, theirs, layers)
        ours, dropped, notes = chosen.pieces, chosen.dropped, [*notes, *chosen.notes]
    found = match_exact(ours, theirs, guidance)
    if found is None and mode != "exact":
        found = match_prefixes(ours, theirs, guidance)
    if found is not None and mode != "exact":
        found = completed(found, ours, theirs, guidance)
    elif found is None and mode != "exact":
        single = [
            [piece for piece in side if piece.origin not in again]
            for side, again in zip((ours, theirs), repeated, strict=True)
        ]
        found = _by_structure(voted(*single), single[1], guidance)
    if found is None:
        raise nothing_matches(ours, theirs, mode, notes)
    return replace(found, notes=(*notes, *found.notes), dropped=dropped)


def _laid(sources: Sequence[Named], names: Sequence[str], layouts: Mapping[str, str]) -> list[Named]:
    unknown = layouts.keys() - set(names)
    if unknown:
        near = get_close_matches(min(unknown), names, n=1)
        raise MatchError(
            f"layouts names {min(unknown)!r}, which is not in the checkpoint",
            hint=f"the nearest is {near[0]!r}" if near else None,
        )
    return [
        Named(s.name, s.shape, s.dtype, layout=layouts.get(name, s.layout))
        for s, name in zip(sources, names, strict=True)
    ]


def _by_structure(ours: Sequence[Piece], theirs: Sequence[Piece], guidance: Guidance) -> Matching | None:
    """The hypothesis that pairs most; the first of equals, and none is asked once nothing is left to pair.

    A tie is a refusal even where a later hypothesis sees none: what it leaves out may be what ties.
    """
    best: Matching | None = None
    for hypothesis in HYPOTHESES:
        found = hypothesis(ours, theirs, guidance)
        if found is not None and (best is None or len(found.pairs) > len(best.pairs)):
            best = found
        if best is not None and not (best.unmatched_sources and best.unmatched_targets):
            break
    return best
