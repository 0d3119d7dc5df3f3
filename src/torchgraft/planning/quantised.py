"""Quantised weights of a checkpoint on their way into a model of floats: found, dequantised when read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torchgraft.checkpoint import Checkpoint, Scaling, dequantised, find_scalings, refuse_packed
from torchgraft.errors import CheckpointError
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.targets import Target

__all__ = ["Reading", "as_planned", "with_scales"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A checkpoint as a model of floats sees it.

    Attributes:
        stored: The checkpoint as it is.
        checkpoint: The same with float32 weights in place of quantised ones, and without their scales.
        scalings: How they are dequantised, by the key of the weight.
        aside: Tensors that belong to quantisation and to no weight.
        notes: What a reader of the plan should know, one line each.
    """

    stored: Checkpoint
    checkpoint: Checkpoint
    scalings: Mapping[str, Scaling]
    aside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, checkpoint: Checkpoint, targets: Mapping[str, Target]) -> Reading:
        """Find the quantised weights; a model that is itself quantised takes them as they are.

        Raises:
            CheckpointError: Weights are packed in a way that is not read here, or scales don't fit them.
        """
        if any(target.named.dtype.startswith("float8") for target in targets.values()):
            return cls(checkpoint, checkpoint, {})
        kept = {name.rpartition(".")[2] for name in targets}
        refuse_packed(checkpoint, kept, checkpoint.name)
        found = find_scalings(checkpoint, kept)
        notes = []
        if found.scalings:
            count = len(found.scalings)
            weights = "1 weight is dequantised in float32 when it is"
            if count > 1:
                weights = f"{count} weights are dequantised in float32 when they are"
            notes.append(f"{weights} read")
        if found.unscaled:
            notes.append(
                f"no scales stand beside {len(found.unscaled)} float8 tensors, such as {found.unscaled[0]}: "
                "their numbers are taken as values"
            )
        view = dequantised(checkpoint, found.scalings, found.aside)
        return cls(checkpoint, view, found.scalings, found.aside, tuple(notes))

    def targets(self, entries: Iterable[TargetEntry]) -> tuple[TargetEntry, ...]:
        """The entries, with what is dequantised for them."""
        return tuple(self._told(entry) if entry.status != "fresh" else entry for entry in entries)

    def _told(self, entry: TargetEntry) -> TargetEntry:
        ways = {key: self._way(key) for key in entry.sources if key in self.scalings}
        if not ways:
            return entry
        why = f"{entry.why}; dequantised: {'; '.join(dict.fromkeys(ways.values()))}"
        dtype = self.stored[entry.source].dtype if entry.source is not None else entry.source_dtype
        return replace(entry, why=why, source_dtype=dtype)

    def _way(self, key: str) -> str:
        return self.scalings[key].describe(self.stored[key].dtype, self.stored[key].shape)

    def sources(self, entries: Sequence[SourceEntry]) -> tuple[SourceEntry, ...]:
        """One entry for each tensor of the file: those of the weights are given, the others are told here."""
        if not self.scalings and not self.aside:
            return tuple(entries)
        given = {entry.name: entry for entry in entries}
        owners = {part: key for key, scaling in self.scalings.items() for part in scaling.keys}
        told = []
        for key, ref in self.stored.items():
            if key in given:
                told.append(replace(given[key], dtype=ref.dtype, scaling=self.scalings.get(key)))
            elif key in owners:
                owner = given[owners[key]]
                told.append(SourceEntry(key, ref.shape, ref.dtype, owner.status, f"scales {owner.name}"))
            else:
                why = "belongs to quantised activations, which the model does not have"
                told.append(SourceEntry(key, ref.shape, ref.dtype, "unused", why))
        return tuple(told)


def as_planned(sources: Iterable[SourceEntry], checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with those weights dequantised for which a plan says so.

    Raises:
        CheckpointError: A weight or its scales are missing in this one, or of another shape or dtype.
    """
    told = {entry.name: entry for entry in sources}
    scalings = {key: entry.scaling for key, entry in told.items() if entry.scaling is not None}
    for owner, scaling in scalings.items():
        for key in (owner, *scaling.keys):
            ref, entry = checkpoint.get(key), told.get(key)
            if ref is not None and entry is not None and (ref.shape, ref.dtype) == (entry.shape, entry.dtype):
                continue
            now = "is not in the checkpoint" if ref is None else f"is {ref.dtype} {list(ref.shape)} there"
            raise CheckpointError(
                f"{now}, and the plan dequantises {owner} as "
                f"{scaling.describe(told[owner].dtype, told[owner].shape)}",
                where=key,
                hint="bind the plan to the checkpoint it was made for, or make it again",
            )
    return dequantised(checkpoint, scalings)


def with_scales(keys: Iterable[str], sources: Iterable[SourceEntry]) -> set[str]:
    """These tensors of the checkpoint, and those that scale them."""
    taken = set(keys)
    scalings = {entry.name: entry.scaling for entry in sources if entry.scaling is not None}
    return taken.union(*(scalings[key].keys for key in taken if key in scalings))
