"""Decides, for every tensor, what happens: `plan` is the dry run, `graft` the dry run applied."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from torchgraft import checkpoint as checkpoints
from torchgraft.adapting import Block
from torchgraft.anatomy.flow import parameter_flow
from torchgraft.anatomy.patches import patch_orders
from torchgraft.checkpoint import Checkpoint
from torchgraft.matching import Flow, Matching
from torchgraft.matching import match as pair_names
from torchgraft.planning.applying import Binding, GraftReport
from torchgraft.planning.deciding import Decider
from torchgraft.planning.declared import Declared
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.modes import ModeRules
from torchgraft.planning.plans import Plan
from torchgraft.planning.roles import Roles
from torchgraft.planning.targets import targets_of
from torchgraft.tensors import Named

if TYPE_CHECKING:
    from torchgraft.adapting import InMode
    from torchgraft.matching import Mode, Renames

__all__ = ["Weights", "as_checkpoint", "graft", "plan"]

Weights: TypeAlias = Checkpoint | str | os.PathLike[str] | Mapping[str, torch.Tensor] | nn.Module
"""What weights may be given as: an opened checkpoint, a path or address, a state dict, another model."""


def plan(
    model: nn.Module,
    weights: Weights,
    *,
    rename: Renames | None = None,
    match: Mode = "auto",
    layouts: Mapping[str, str] | None = None,
    fused: Mapping[str, str] | None = None,
    allow_fresh: str | Sequence[str] = (),
    in_mode: InMode = "repeat",
    modes: Mapping[str, object] | None = None,
    source_labels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    stem: str | Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
    example: object = None,
) -> Plan:
    """Say what would happen to every tensor of `model` and of `weights`. Nothing is changed.

    Args:
        model: Any module; it may be on the meta device.
        weights: A checkpoint, its path or address, a state dict, or a model to take the weights from.
        rename: Rules for the checkpoint's names, applied before matching: `{"teacher.": ""}`.
        match: `"auto"` tries exact names, prefixes, then structure; `"exact"` only names;
            `"order"` also trusts the order of the file where nothing else tells siblings apart.
        layouts: How tensors of the checkpoint lie, where nothing tells: `{"proj": "IO"}` for a transposed
            `Linear`, `"HWIO"` for a convolution's kernel, `"OHWI"` for a flattened patch. The names are those
            after `rename`.
        fused: What a layer is fused from, on either side, where its name does not say so, and in which order:
            `{"fc1": "gate+up"}`.
        allow_fresh: What may stay as it is: `"head"`, `"stem"`, or patterns of tensor names such as
            `"aux.*"`. A head whose class count differs needs no declaration.
        in_mode: How a stem of other input channels is filled; see `torchgraft.adapting`.
        modes: The same for every kind of step that has modes, or for single tensors, by name, path or
            pattern: `{"rows": "mean", "conv1.weight": "zeros"}`.
        source_labels: Class names of the checkpoint's head, in order.
        labels: Class names of the model's head, in order. With both, rows are carried over by name.
        stem: The module path of the stem, where running the model can't tell.
        head: The module path of the head, likewise.
        example: An input to run the model on, where one can't be guessed.

    Raises:
        MatchError: Names and shapes can't be paired.
        AmbiguousMatchError: They can in two equally good ways.
        CheckpointError: The checkpoint can't be read.
    """
    source = as_checkpoint(weights)
    targets = targets_of(model)
    matching = pair_names(
        [Named(ref.name, ref.shape, ref.dtype, layout=ref.layout) for ref in source.values()],
        [target.named for target in targets.values()],
        rename=rename,
        mode=match,
        layouts=layouts,
        fused=fused,
        repeated=(_repeated(source), {key for key, target in targets.items() if target.tied_to}),
        flow_of=lambda: _flow(model, example),
    )
    roles = Roles(model, stem=stem, head=head, example=example)
    decider = Decider(
        source=source,
        targets=targets,
        roles=roles,
        declared=Declared.parse(allow_fresh),
        modes=ModeRules.parse(modes, in_mode, targets),
        labels=(source_labels, labels) if source_labels is not None and labels is not None else None,
    )
    entries = decider.decide(matching)
    return Plan(
        model=type(model).__name__,
        checkpoint=_describe(source),
        match=matching.how,
        targets=entries,
        sources=_source_entries(source, entries, matching, decider.refused),
        notes=(*matching.notes, *roles.notes),
        doubts=matching.doubts,
        binding=Binding(model, source),
    )


def graft(
    model: nn.Module,
    weights: Weights,
    *,
    rename: Renames | None = None,
    match: Mode = "auto",
    layouts: Mapping[str, str] | None = None,
    fused: Mapping[str, str] | None = None,
    allow_fresh: str | Sequence[str] = (),
    in_mode: InMode = "repeat",
    modes: Mapping[str, object] | None = None,
    source_labels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    stem: str | Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
    example: object = None,
) -> GraftReport:
    """Put the weights into the model: `plan(…).apply()`, with the arguments of `plan`.

    Raises:
        CoverageError: Parts of the model that nobody declared would stay untrained. The model is
            untouched. So it is after any other error of `plan`.
    """
    return plan(
        model,
        weights,
        rename=rename,
        match=match,
        layouts=layouts,
        fused=fused,
        allow_fresh=allow_fresh,
        in_mode=in_mode,
        modes=modes,
        source_labels=source_labels,
        labels=labels,
        stem=stem,
        head=head,
        example=example,
    ).apply()


def as_checkpoint(weights: Weights) -> Checkpoint:
    """The weights as a checkpoint, whichever way they were given."""
    if isinstance(weights, Checkpoint):
        return weights
    if isinstance(weights, nn.Module):
        weights = weights.state_dict()
    if isinstance(weights, Mapping):
        tensors = {key: value for key, value in weights.items() if isinstance(value, torch.Tensor)}
        return Checkpoint.from_state_dict(tensors)
    return checkpoints.open(weights)


def _repeated(source: Checkpoint) -> set[str]:
    """Names of tensors that an earlier name stands for."""
    first: dict[str, str] = {}
    return {
        name
        for name, ref in source.items()
        if ref.alias is not None and first.setdefault(ref.alias, name) != name
    }


def _flow(model: nn.Module, example: object) -> Flow:
    order, above, below = parameter_flow(model, example) or ({}, {}, {})
    classes = {path: type(module).__name__ for path, module in model.named_modules()}
    return Flow(order, above, below, classes, lambda: patch_orders(model, example))


def _describe(source: Checkpoint) -> str:
    return f"{source.name} [{source.part}]" if source.part else source.name


def _source_entries(
    source: Checkpoint, entries: Sequence[TargetEntry], matching: Matching, refused: Mapping[str, str]
) -> tuple[SourceEntry, ...]:
    used: dict[str, list[str]] = {}
    for entry in entries:
        for key in entry.sources:
            places = used.setdefault(key, [])
            if not places or any(isinstance(op, Block) for op in entry.ops):
                places.append(entry.name)
    unmatched = set(matching.unmatched_sources)

    def state(name: str) -> tuple[str, str]:
        if name in used:
            return "used", f"goes to {', '.join(used[name])}"
        if name in unmatched:
            return "unused", "the model has no place for it"
        return "unused", refused.get(name, "its place in the model is filled by a tied tensor")

    return tuple(
        SourceEntry(name, ref.shape, ref.dtype, *state(name))  # type: ignore[arg-type]  # a literal pair
        for name, ref in source.items()
    )
