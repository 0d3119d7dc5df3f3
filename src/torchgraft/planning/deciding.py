"""Turns a matching into one decision for each tensor of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from torchgraft.adapting import Change, InputChannels, RowBlocks, RowMap, find_ops
from torchgraft.adapting.ops import Op, Role, Shape
from torchgraft.anatomy.mode_rules import ModeRules
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AdaptError
from torchgraft.matching import Matching, Pair, Part
from torchgraft.planning.declared import Declared
from torchgraft.planning.entries import TargetEntry, TargetStatus
from torchgraft.planning.labelling import Labelling
from torchgraft.planning.placing import Placing
from torchgraft.planning.roles import Roles
from torchgraft.planning.targets import Target
from torchgraft.tensors import TensorRef

__all__ = ["Decider"]


@dataclass(frozen=True)
class Decider:
    """All that a decision depends on.

    Attributes:
        source: The checkpoint.
        targets: The model's tensors by key.
        roles: Tells stem, head and body apart.
        declared: What the user allows to stay fresh.
        modes: How steps that have several ways are done.
        labels: Which class of the checkpoint each class of the model is, as far as it is known.
        tokens: Which row of the checkpoint's tables each row of the model's has, if their tokens are known.
        refused: Filled on the way: why a tensor of the checkpoint that has a partner is not used.
    """

    source: Checkpoint
    targets: Mapping[str, Target]
    roles: Roles
    declared: Declared
    modes: ModeRules
    labels: Labelling
    tokens: RowMap | None = None
    refused: dict[str, str] = field(default_factory=dict)

    def decide(self, matching: Matching) -> tuple[TargetEntry, ...]:
        """One entry for each tensor of the model, in its order."""
        partner = {pair.target: pair for pair in matching.pairs}
        entries: dict[str, TargetEntry] = {}
        for key, target in self.targets.items():
            pair = partner.get(key)
            first = entries.get(target.tied_to) if target.tied_to else None
            if pair is None:
                entries[key] = self._follow(target, first) if first else self._missing(target)
            elif (
                first is not None
                and first.status != "fresh"
                and first.source
                and not self._same_all(first.sources, pair.sources)
            ):
                entries[key] = self._fresh(
                    target,
                    f"the model ties it to {first.name}, the checkpoint holds other values for it",
                    declared=self._allowed(key),
                    partner=pair.source,
                )
                self.refused[pair.source] = (
                    f"the model ties its place to {first.name}, which got other values"
                )
            else:
                entries[key] = self._paired(target, pair)
            self._fill_earlier(entries, target, first)
        if not self.roles.known:
            return tuple(entries.values())
        role_of = {False: self.roles.end_of, True: self.roles.of}
        return tuple(
            replace(entry, role=role_of[entry.source is not None](key)) for key, entry in entries.items()
        )

    def _fill_earlier(
        self, entries: dict[str, TargetEntry], target: Target, first: TargetEntry | None
    ) -> None:
        """A checkpoint may hold only a later name of a tied tensor: then those before take it from there."""
        entry = entries[target.named.name]
        if first is None or first.status != "fresh" or entry.status == "fresh":
            return
        assert entry.source is not None
        for key in list(entries):
            if key != entry.name and first.name in (key, self.targets[key].tied_to):
                entries[key] = self._entry(
                    self.targets[key],
                    entry.status,
                    f"tied to {entry.name}",
                    source=self.source[entry.source],
                    ops=entry.ops,
                    joined=entry.joined,
                )

    def _paired(self, target: Target, pair: Pair) -> TargetEntry:
        ref = self.source[pair.source]
        key, shape = target.named.name, target.named.shape
        if not all(target.takes(self.source[name].dtype) for name in pair.sources):
            return self._other_kind(target, pair)
        if pair.joined:
            return self._joined(target, pair)
        given = _shape_after(pair.ops, ref.shape)
        if given == shape and not self._reordered(key, shape):
            why = "; ".join([*(op.describe() for op in pair.ops), pair.why])
            kept: TargetStatus = "adapted" if pair.ops else "loaded"
            return self._entry(target, kept, _cast(why, ref, target), source=ref, ops=pair.ops)
        role = self.roles.of(key)
        if role == "head" and not self.labels.known and given != shape and given[1:] == shape[1:]:
            each = self.roles.blocks(key).size
            here, there = shape[0] // each, given[0] // each
            why = f"{here} classes here, {there} in the checkpoint, no labels to carry rows by"
            self.refused[pair.source] = why
            return self._fresh(target, why, declared=True, partner=pair.source)
        try:
            ops = (*pair.ops, *self._ops(given, target, role, pair))
        except AdaptError as error:
            return self._unadaptable(target, pair, error)
        status: TargetStatus = "adapted" if ops else "loaded"
        steps = "; ".join(op.describe() for op in ops)
        return self._entry(target, status, _cast(steps or pair.why, ref, target), source=ref, ops=ops)

    def _joined(self, target: Target, pair: Pair) -> TargetEntry:
        key, shape = target.named.name, target.named.shape
        given = (sum(part.shape[0] for part in pair.joined), *pair.joined[0].shape[1:])
        given = _shape_after(pair.ops, given)
        if given != shape:
            why = f"its parts give shape {list(given)}, not {list(shape)}"
            self.refused.update((name, why) for name in pair.sources)
            return self._fresh(target, why, declared=self._allowed(key), partner=pair.source)
        names = ", ".join("zeros" if part.source is None else part.source for part in pair.joined)
        ref = self.source[pair.source]
        why = _cast(f"joined from {names}; {pair.why}", ref, target)
        return self._entry(target, "adapted", why, source=ref, ops=pair.ops, joined=pair.joined)

    def _ops(self, given: Shape, target: Target, role: Role, pair: Pair) -> tuple[Op, ...]:
        rows, blocks = None, RowBlocks()
        if role == "head" and self.labels.known:
            blocks = self.roles.blocks(target.named.name)
            rows = self.labels.rows(blocks.classes(given[0]) if given else 1)
        if role == "vocabulary":
            rows = self.tokens
        groups = getattr(target.owner, "groups", 1) if role == "stem" else 1
        modes: Mapping[str, object] = self.modes.of(target.named.name)
        placing = Placing(self.source, self.roles)
        role = placing.role(target.named.name, modes)
        place, modes = placing.of(target, role, given, pair.source, modes, plain=not pair.ops)
        change = Change(given, target.named.shape, role, modes, rows=rows, groups=groups, place=place)
        return find_ops(blocks.applied(change) if role == "head" else change)

    def _reordered(self, key: str, shape: Shape) -> bool:
        """Whether rows or channels may stand for others although the shape is the same."""
        if not self._reorders:
            return False
        if self._relabelled(key) or self._remapped(key, shape) or self._retokened(key):
            return True
        return Placing(self.source, self.roles).declared(key, self.modes.of(key))

    @cached_property
    def _reorders(self) -> bool:
        """Whether the user says anything that could put rows, channels or positions in another order."""
        said = (*self.modes.by_op.values(), *self.modes.by_name.values())
        return self.labels.changes or self.tokens is not None or not all(isinstance(m, str) for m in said)

    def _retokened(self, key: str) -> bool:
        return self.tokens is not None and self.roles.of(key) == "vocabulary"

    def _relabelled(self, key: str) -> bool:
        """Whether the head's rows stand for other classes although their number may be the same."""
        return self.labels.changes and self.roles.of(key) == "head"

    def _remapped(self, key: str, shape: tuple[int, ...]) -> bool:
        """Whether a map may put the stem's channels in another order although their number is the same."""
        mode = Change(shape, shape, "stem", self.modes.of(key)).mode(InputChannels.name, "repeat")
        return not isinstance(mode, str) and len(shape) > 1 and self.roles.of(key) == "stem"

    def _other_kind(self, target: Target, pair: Pair) -> TargetEntry:
        there, here = self.source[pair.source].dtype, target.named.dtype
        why = f"{there} there, {here} here: not the same kind of number"
        if there in ("int8", "uint8") and not target.requires_no_value:
            why += ", and no scales stand beside it"
        self.refused[pair.source] = why
        if target.requires_no_value:
            why = f"{why}; the model computes its own"
            return self._fresh(target, why, declared=True, partner=pair.source)
        return self._fresh(target, why, declared=self._allowed(target.named.name), partner=pair.source)

    def _allowed(self, key: str) -> bool:
        """Whether the user declared it as new, by name or by its role."""
        if self.declared.names(key):
            return True
        return bool(self.declared.roles) and self._covering(key) is not None

    def _unadaptable(self, target: Target, pair: Pair, error: AdaptError) -> TargetEntry:
        here, there = list(target.named.shape), list(self.source[pair.source].shape)
        self.refused[pair.source] = f"shape {there} does not fit {here}"
        if target.requires_no_value:
            return self._fresh(
                target,
                f"shape {there} in the checkpoint; the model computes its own",
                declared=True,
                partner=pair.source,
            )
        declared = self._allowed(target.named.name)
        why = f"{error.what}; {error.hint}" if error.hint and not declared else error.what
        return self._fresh(target, why, declared=declared, partner=pair.source)

    def _missing(self, target: Target) -> TargetEntry:
        key = target.named.name
        if target.requires_no_value:
            return self._fresh(target, "not in the checkpoint; the model computes its own", declared=True)
        if self.declared.names(key):
            return self._fresh(target, "not in the checkpoint; declared as new", declared=True)
        role = self._covering(key)
        if role is not None:
            return self._fresh(target, f"not in the checkpoint; {role} declared as new", declared=True)
        return self._fresh(target, "not in the checkpoint", declared=False)

    def _covering(self, key: str) -> Role | None:
        """The role by which it may stay fresh; a language model's head is a head, too."""
        roles = (self.roles.of(key), self.roles.end_of(key))
        return next((role for role in roles if self.declared.covers(role)), None)

    def _follow(self, target: Target, first: TargetEntry) -> TargetEntry:
        """A further name of a tensor that was decided already."""
        source = self.source[first.source] if first.source is not None else None
        return self._entry(
            target,
            first.status,
            f"tied to {first.name}",
            source=source,
            ops=first.ops,
            joined=first.joined,
            declared=first.declared,
        )

    def _same_all(self, one: Sequence[str], other: Sequence[str]) -> bool:
        return len(one) == len(other) and all(map(self._same, one, other))

    def _same(self, one: str, other: str) -> bool:
        """Whether two tensors of the checkpoint hold the same values; reads them only if it must."""
        a, b = self.source[one], self.source[other]
        if one == other or (a.alias is not None and a.alias == b.alias):
            return True
        return (a.shape, a.dtype) == (b.shape, b.dtype) and _equal(a.view(), b.view())

    def _fresh(self, target: Target, why: str, *, declared: bool, partner: str | None = None) -> TargetEntry:
        source = self.source[partner] if partner is not None else None
        return self._entry(target, "fresh", why, source=source, declared=declared)

    @staticmethod
    def _entry(
        target: Target,
        status: TargetStatus,
        why: str,
        *,
        source: TensorRef | None = None,
        ops: tuple[Op, ...] = (),
        joined: tuple[Part, ...] = (),
        declared: bool = False,
    ) -> TargetEntry:
        return TargetEntry(
            name=target.named.name,
            shape=target.named.shape,
            dtype=target.named.dtype,
            buffer=target.is_buffer,
            role="body",
            status=status,
            why=why,
            source=source.name if source is not None else None,
            source_shape=source.shape if source is not None else None,
            source_dtype=source.dtype if source is not None else None,
            ops=ops,
            joined=joined,
            declared=declared,
        )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same values; what is not a number equals itself here."""
    if torch.equal(one, other):
        return True
    if one.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _shape_after(ops: Sequence[Op], shape: Shape) -> Shape:
    for op in ops:
        shape = op.shape(shape)
    return shape


def _cast(why: str, ref: TensorRef, target: Target) -> str:
    return why if ref.dtype == target.named.dtype else f"{why}; {ref.dtype} → {target.named.dtype}"
