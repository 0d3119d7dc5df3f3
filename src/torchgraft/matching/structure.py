"""Hypothesis: names differ; shapes, numbers, containers and words tell the layers apart.

Nothing here depends on the order of the file unless the user says so: files may be sorted by name, and
libraries list the same siblings (query, key, value) in different orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from torchgraft.matching.flow import Flow, FlowOf
from torchgraft.matching.folding import folded
from torchgraft.matching.fused import parts, without_key_biases
from torchgraft.matching.guidance import Guidance
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Matching
from torchgraft.matching.structure_align import EVIDENCE, NORM_EVIDENCE, Evidence, align
from torchgraft.matching.structure_containers import Around, same_places, split, surroundings
from torchgraft.matching.structure_contents import contents, refined
from torchgraft.matching.structure_flow import SIDE_BY_SIDE, Run
from torchgraft.matching.structure_kin import Siblings
from torchgraft.matching.structure_leftovers import same_architecture, same_block, stem_and_head
from torchgraft.matching.structure_link import Link
from torchgraft.matching.structure_maps import with_maps
from torchgraft.matching.structure_modules import COUNTER, Module, by_signature, modules_of
from torchgraft.matching.structure_names import Vocabulary
from torchgraft.matching.structure_order import order_of
from torchgraft.matching.structure_ties import refuse_ties, tied_classes
from torchgraft.matching.structure_turned import flattened, projections, with_square_projections
from torchgraft.matching.structure_unspelled import refuse_unspelled, unspelled

__all__ = ["SHARE", "match_structure"]

HOW = "structure (names differ)"

SHARE = 0.8
"""Structure explains two lists if this share of the shorter one has partners, tied ones included: other
architectures share many shapes by chance, a foreign head or stem is a few tensors."""


def match_structure(
    sources: Sequence[Piece], targets: Sequence[Piece], guidance: Guidance
) -> Matching | None:
    """Pair layers by all evidence but file order; `mode="order"` lets file order settle what is left.

    Raises:
        AmbiguousMatchError: Layers of one shape could be exchanged and nothing tells which is which.
    """
    ours, theirs = (
        parts(side, other, guidance.fused) for side, other in ((sources, targets), (targets, sources))
    )
    search = _Search(modules_of(ours), modules_of(without_key_biases(theirs, ours)), guidance.flow_of)
    search.run()
    if guidance.mode == "order":
        search.run((*EVIDENCE, "order"))
    links = with_maps(with_square_projections(search.links), search.flow, targets)
    pieces = {target.name: (source, target, why) for link in links for source, target, why in _pieces(link)}
    tied = tied_classes(*search.open(), search.around())
    fused = unspelled(*search.open())
    hanging = sum(len(module.leaves) for ours, _ in tied for module in ours)
    hanging += sum(len(module.leaves) for module, _ in fused)
    if len(pieces) + hanging < SHARE * min(len(ours), len(theirs)):
        return None
    refuse_ties(tied, search.around())
    refuse_unspelled(fused)
    pairs = {pair.target: pair for pair in folded([*pieces.values()], theirs)}
    used = {source for pair in pairs.values() for source in pair.sources}
    return Matching(
        how=HOW,
        pairs=tuple(pairs[target.origin] for target in targets if target.origin in pairs),
        unmatched_sources=tuple(source.origin for source in sources if source.origin not in used),
        unmatched_targets=tuple(target.origin for target in targets if target.origin not in pairs),
        doubts=_doubts(pieces.values()),
    )


def _doubts(found: Iterable[tuple[Piece, Piece, str]]) -> tuple[str, ...]:
    """What numbers alone decided between layers that are used side by side."""
    weak = [(source, target) for source, target, why in found if SIDE_BY_SIDE in why]
    if not weak:
        return ()
    first = " and ".join(f"{source.name!r} to {target.name!r}" for source, target in weak[:2])
    more = f" (and {len(weak) - 2} more)" if len(weak) > 2 else ""
    return (
        f"{first}{more}: the model uses them side by side, and only their numbers and the order in which it "
        "does so say which is which; rename= settles it",
    )


class _Search:
    """What is settled so far, and what is open on either side."""

    def __init__(
        self, ours: Sequence[Module], theirs: Sequence[Module], flow_of: FlowOf | None = None
    ) -> None:
        self.links: list[Link] = []
        self._sides = (list(ours), list(theirs))
        self._flow_of = flow_of
        self._known = Vocabulary()
        self._siblings = Siblings(ours)
        self._contents = contents(ours, theirs)
        self._same_architecture = same_architecture(ours, theirs)
        self._settled: list[tuple[Module, Module]] = []
        self._around: tuple[int, tuple[Around, Around]] | None = None
        self._ran: tuple[int, Run] | None = None

    @cached_property
    def flow(self) -> Flow | None:
        """How the model uses its tensors, if it can be asked."""
        return None if self._flow_of is None else self._flow_of()

    def open(self) -> tuple[list[Module], list[Module]]:
        """The modules without a partner, in file order."""
        return self._sides

    def settle(self, links: Iterator[Link]) -> bool:
        """Take these pairs over; whether there was one."""
        before = len(self.links)
        for link in links:
            self.links.append(link)
            if link.source.is_matrix:
                self._settled.append((link.source, link.target))
            self._known.learn(link.source, link.target)
        new = self.links[before:]
        gone = {id(module) for link in new for module in link[:2]}
        ours, theirs = ([module for module in side if id(module) not in gone] for side in self._sides)
        self._sides = (ours, theirs)
        return bool(new)

    def run(self, kinds: Sequence[Evidence] = EVIDENCE) -> None:
        """Settle all that can be, always by the surest of these kinds of evidence that brings a pair."""
        while any(self.settle(step) for step in self._steps(kinds)):
            pass

    def _steps(self, kinds: Sequence[Evidence]) -> Iterator[Iterator[Link]]:
        for squeezed in (False, True):
            for evidence in kinds:
                for matrices in (True, False):  # norms follow the layers they belong to
                    if not matrices:
                        yield iter(list(self._followers(squeezed=squeezed)))
                    yield iter(list(self._by_class(evidence, matrices=matrices, squeezed=squeezed)))
        if self._same_architecture:
            yield iter(list(same_block(*self._sides, self.around())))
        yield iter(list(projections(*self._sides)))
        yield iter(list(flattened(*self._sides, self.flow.patches if self.flow else dict)))
        yield iter(list(stem_and_head(*self._sides)))

    def _classes(self, *, matrices: bool, squeezed: bool) -> Iterator[tuple[list[Module], list[Module]]]:
        ours, theirs = (
            by_signature([m for m in side if m.is_matrix == matrices], squeezed=squeezed)
            for side in self._sides
        )
        yield from ((mine, theirs[signature]) for signature, mine in ours.items() if signature in theirs)

    def _followers(self, *, squeezed: bool) -> Iterator[Link]:
        """Norms and the like, by the settled layers that they stand beside on both sides."""
        classes = list(self._classes(matrices=False, squeezed=squeezed))
        if any(len(mine) > 1 for mine, _ in classes) and (run := self._run()):
            for mine, yours in classes:
                yield from run.followers(mine, yours, self._siblings)

    def _run(self) -> Run | None:
        if self.flow is None:
            return None
        if self._ran is None or self._ran[0] != len(self._settled):
            self._ran = len(self._settled), Run(self.flow, self._settled, self.around()[0])
        return self._ran[1]

    def _by_class(self, evidence: Evidence, *, matrices: bool, squeezed: bool) -> Iterator[Link]:
        around = self.around()
        kinds = EVIDENCE if matrices else NORM_EVIDENCE
        steps = kinds[: kinds.index(evidence) + 1] if evidence in kinds else (*kinds, evidence)
        run = self._run() if "flow" in steps else None
        for mine, yours in self._classes(matrices=matrices, squeezed=squeezed):
            if len(mine) == len(yours) == 1:
                yield Link(mine[0], yours[0], "the only one of its shape")
                continue
            for some, others in self._groups(mine, yours, around):
                why = "of its shape" if len(some) == len(mine) else "of its shape in the same block"
                if len(some) == 1:
                    why = "the only one of its shape in the same block"
                yield from align(order_of(some), order_of(others), steps, self._known, why, run)

    def _groups(
        self, mine: list[Module], yours: list[Module], around: tuple[Around, Around]
    ) -> Iterator[tuple[list[Module], list[Module]]]:
        """Parts of a class that can only belong together."""
        if len(mine) != len(yours):
            yield from same_places(mine, yours, around)
            return
        for some, others in refined(mine, yours, self._contents):
            yield from split(some, others, around) or []

    def around(self) -> tuple[Around, Around]:
        """The settled layers in each container, on either side."""
        if self._around is None or self._around[0] != len(self._settled):
            self._around = len(self._settled), surroundings(self._settled)
        return self._around[1]


def _pieces(link: Link) -> Iterator[tuple[Piece, Piece, str]]:
    ours, theirs = link.source.leaves, link.target.leaves
    if len(ours.keys() - {COUNTER}) == len(theirs.keys() - {COUNTER}) == 1:
        ours, theirs = ({k if k == COUNTER else "": t for k, t in side.items()} for side in (ours, theirs))
    for leaf, target in theirs.items():
        if leaf in ours:
            source = ours[leaf]
            differs = (
                "" if source.shape == target.shape else f"; shapes differ: {source.shape} → {target.shape}"
            )
            yield source, target, link.why + differs
