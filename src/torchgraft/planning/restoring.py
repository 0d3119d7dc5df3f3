"""The way back: a model's weights in the names, shapes and dtypes of the checkpoint that they came from.

Each tensor of the model gives all or some elements of one or several tensors of the checkpoint. What several
give must agree; what none gives is the checkpoint's own, or left out, and a note says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import CheckpointError, ModelError
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.gathering import Found, Gathering, Lost
from torchgraft.planning.plans import Plan

__all__ = ["Restored", "restore"]


@dataclass(frozen=True, eq=False)
class Restored(Mapping[str, torch.Tensor]):
    """A state dict in the checkpoint's naming; `torchgraft.save` and `torch.save(dict(…))` take it.

    Attributes:
        tensors: By the checkpoint's names, in its order, each in memory of its own.
        notes: What does not come from the model, what is left out, what lost precision; one line each.
    """

    tensors: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        return f"<Restored: {len(self)} tensors, {len(self.notes)} notes>"


def restore(plan: Plan, trained: Checkpoint, base: Checkpoint | None) -> Restored:
    """Undo a plan; see `Plan.restore`."""
    _check_base(plan, base)
    gathered, lost = Gathering(plan, base), Lost()
    absent = []
    for entry in plan.targets:
        if entry.status == "fresh":
            continue
        if entry.name in trained:
            gathered.take(entry, _value(trained, entry), lost)
        else:
            absent.append(entry)
    for entry in absent:  # another name of a tied tensor, or a copy, may have given what it would
        if any(not gathered.complete(source) and source not in lost.undone for source in entry.sources):
            raise ModelError(
                "is not among the weights that are to be restored",
                where=entry.name,
                hint="give the whole state dict of the model that the plan was made for",
            )
    for stored in plan.sources:  # scales of a weight that is left out would say nothing
        if stored.scaling is not None and stored.name in lost.undone:
            lost.undone.update(dict.fromkeys(stored.scaling.keys, lost.undone[stored.name]))
    return _assembled(plan, gathered.found, lost, base)


def _assembled(plan: Plan, found: Mapping[str, Found], lost: Lost, base: Checkpoint | None) -> Restored:
    tied: dict[str, str] = {}
    if base is not None:
        aliases = {name: base[name].alias for name in found if name in base}
        tied = {alias: name for name, alias in aliases.items() if alias is not None}
    wanted = [] if base is None else [s.name for s in plan.sources if s.name not in found and s.name in base]
    if base is not None and wanted:
        with base.prefetch(wanted):
            return _filled(plan, found, lost, base, tied)
    return _filled(plan, found, lost, base, tied)


def _filled(
    plan: Plan,
    found: Mapping[str, Found],
    lost: Lost,
    base: Checkpoint | None,
    tied: Mapping[str, str],
) -> Restored:
    tensors: dict[str, torch.Tensor] = {}
    why: dict[tuple[str, str], list[str]] = {}
    for stored in plan.sources:
        name = stored.name
        known = found.get(name)
        if known is None and name not in lost.undone and base is not None and name in base:
            twin = tied.get(base[name].alias or "")
            known = found[twin] if twin is not None else None
        if known is not None and known.known is None:
            tensors[name] = _owned(known.tensor)
        elif name in lost.undone:
            why.setdefault(("left out", lost.undone[name]), []).append(name)
        elif base is not None and name in base:
            tensors[name] = _from_base(base, stored, known)
            why.setdefault(("the checkpoint's own", _reason(stored, known)), []).append(name)
        else:
            why.setdefault(("left out", _reason(stored, known)), []).append(name)
    homeless: dict[str, list[str]] = {}
    for entry in plan.targets:
        if entry.status == "fresh":
            homeless.setdefault(entry.why, []).append(entry.name)
    notes = [f"{what}: {_listed(names)} ({reason})" for (what, reason), names in why.items()]
    notes += [f"of the model alone: {_listed(names)} ({reason})" for reason, names in homeless.items()]
    notes += [
        f"as exact as {narrow} only, which the model holds where the checkpoint has {wide}: {_listed(names)}"
        for (narrow, wide), names in lost.rounded.items()
    ]
    return Restored(tensors, (*notes, *lost.remarks))


def _from_base(base: Checkpoint, stored: SourceEntry, known: Found | None) -> torch.Tensor:
    original = base[stored.name].read().to(getattr(torch, stored.dtype))
    if known is None or known.known is None:
        return original
    return torch.where(known.known, known.tensor, original.to(known.tensor.device))


def _reason(stored: SourceEntry, known: Found | None) -> str:
    if known is None or known.known is None:
        return stored.why
    unknown = known.known.numel() - int(known.known.count_nonzero())
    return f"{unknown:,} of {known.known.numel():,} elements: the model has none for them"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _value(trained: Checkpoint, entry: TargetEntry) -> torch.Tensor:
    ref = trained[entry.name]
    if ref.shape != entry.shape:
        raise ModelError(
            f"has shape {list(ref.shape)}, the plan says {list(entry.shape)}",
            where=entry.name,
            hint="give the weights of the model that the plan was made for",
        )
    value = ref.view()
    if value.is_meta:
        raise ModelError("is on the meta device: it has no values", where=entry.name)
    return value.detach()


def _check_base(plan: Plan, base: Checkpoint | None) -> None:
    for entry in plan.sources if base is not None else ():
        ref = base.get(entry.name) if base is not None else None
        if ref is not None and ref.shape != entry.shape:
            raise CheckpointError(
                f"is {list(ref.shape)} in the checkpoint given as base, the plan says {list(entry.shape)}",
                where=entry.name,
                hint="give the checkpoint that the plan was made for",
            )


def _owned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)
