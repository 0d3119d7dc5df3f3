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
from torchgraft.anatomy.mode_rules import ModeRules
from torchgraft.anatomy.patches import patch_orders
from torchgraft.anatomy.unsharded import class_name, unsharded
from torchgraft.anatomy.vocabulary_tables import token_map
from torchgraft.checkpoint import Checkpoint
from torchgraft.matching import Flow, Matching
from torchgraft.matching import match as pair_names
from torchgraft.planning.applying import Binding, GraftReport
from torchgraft.planning.deciding import Decider
from torchgraft.planning.declared import Declared
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.frames import without_time
from torchgraft.planning.labelling import Labelling
from torchgraft.planning.plans import Plan
from torchgraft.planning.quantised import Reading
from torchgraft.planning.roles import Roles
from torchgraft.planning.sharded import refuse_shards
from torchgraft.planning.targets import targets_of
from torchgraft.planning.vocabularies import check_tables, vocabulary_doubts
from torchgraft.tensors import Named

if TYPE_CHECKING:
    from torchgraft.adapting import ClassMap, InMode
    from torchgraft.labels import Labels
    from torchgraft.matching import LayerChoice, Mode, Renames
    from torchgraft.tokens import Tokens

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
    layers: LayerChoice | None = None,
    allow_fresh: str | Sequence[str] = (),
    in_mode: InMode = "repeat",
    modes: Mapping[str, object] | None = None,
    source_labels: Labels | None = None,
    labels: Labels | None = None,
    class_map: ClassMap | None = None,
    source_tokens: Tokens | None = None,
    tokens: Tokens | None = None,
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
        layers: Which blocks of a checkpoint of another depth are taken: `"even"`, `"every 2"`, `"first"`,
            `"last"`, or for each block of the model the checkpoint's, such as `[0, 2, 4, 7, 9, 11]`; by a
            stack's name where there are several: `{"encoder.layer": "even"}`. By default the first.
        allow_fresh: What may stay as it is: `"head"`, `"stem"`, or patterns of tensor names such as
            `"aux.*"`. A head whose class count differs needs no declaration.
        in_mode: How a stem of other input channels is filled; see `torchgraft.adapting`.
        modes: The same for every kind of step that has modes, or for single tensors, by name, path or
            pattern: `{"rows": "mean", "conv1.weight": "zeros"}`.
        source_labels: Class names of the checkpoint's head, in order, or a file of them (see
            `torchgraft.read_labels`). Where it says them itself they need not be given.
        labels: Class names of the model's head, likewise. With both, rows are carried over by name.
        class_map: Which class of the checkpoint each one of the model is, where names do not tell; see
            `torchgraft.adapt`.
        source_tokens: The checkpoint's vocabulary: tokens in the order of their rows, a mapping to these, a
            tokenizer, or the path of a `tokenizer.json`, `vocab.json`, `vocab.txt` or their folder.
        tokens: The model's vocabulary. With both, rows of embeddings and language heads go by token; see
            `torchgraft.adapting.Vocabulary`. A larger vocabulary keeps its first rows without them.
        stem: The module path of the stem, where running the model can't tell.
        head: The module path of the head, likewise.
        example: An input to run the model on, where one can't be guessed.

    Raises:
        MatchError: Names and shapes can't be paired.
        AmbiguousMatchError: They can in two equally good ways.
        CheckpointError: The checkpoint can't be read.
    """
    targets = targets_of(model)
    reading = Reading.of(as_checkpoint(weights), targets)
    source = reading.checkpoint
    there, here, over_time = without_time(
        [Named(ref.name, ref.shape, ref.dtype, layout=ref.layout) for ref in source.values()],
        [target.named for target in targets.values()],
    )
    matching = pair_names(
        there,
        here,
        rename=rename,
        mode=match,
        layouts=layouts,
        fused=fused,
        layers=layers,
        repeated=(_repeated(source), {key for key, target in targets.items() if target.tied_to}),
        flow_of=lambda: _flow(unsharded(model), example),
    )
    declared = Declared.parse(allow_fresh)
    roles = Roles(model, stem=stem, head=head, example=example)
    labelling = Labelling.of(model, source, source_labels, labels, class_map)
    decider = Decider(
        source=source,
        targets=targets,
        roles=roles,
        declared=declared,
        modes=ModeRules.parse(modes, in_mode, targets),
        labels=labelling,
        tokens=token_map(source_tokens, tokens),
    )
    entries = decider.decide(matching)
    check_tables(decider.tokens, roles)
    return Plan(
        model=class_name(model),
        checkpoint=_describe(source),
        match=matching.how,
        targets=reading.targets(entries),
        sources=reading.sources(_source_entries(source, entries, matching, decider.refused)),
        notes=(
            *matching.notes,
            *over_time,
            *reading.notes,
            *labelling.notes,
            *roles.notes,
            *declared.notes(targets),
        ),
        doubts=(*matching.doubts, *vocabulary_doubts(entries)),
        binding=Binding(model, reading.stored, targets),
    )


def graft(
    model: nn.Module,
    weights: Weights,
    *,
    rename: Renames | None = None,
    match: Mode = "auto",
    layouts: Mapping[str, str] | None = None,
    fused: Mapping[str, str] | None = None,
    layers: LayerChoice | None = None,
    allow_fresh: str | Sequence[str] = (),
    in_mode: InMode = "repeat",
    modes: Mapping[str, object] | None = None,
    source_labels: Labels | None = None,
    labels: Labels | None = None,
    class_map: ClassMap | None = None,
    source_tokens: Tokens | None = None,
    tokens: Tokens | None = None,
    stem: str | Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
    example: object = None,
    device: torch.device | str | None = None,
    for_training: bool = False,
) -> GraftReport:
    """Put the weights into the model: `plan(…).apply(…)`, with the arguments of both.

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
        layers=layers,
        allow_fresh=allow_fresh,
        in_mode=in_mode,
        modes=modes,
        source_labels=source_labels,
        labels=labels,
        class_map=class_map,
        source_tokens=source_tokens,
        tokens=tokens,
        stem=stem,
        head=head,
        example=example,
    ).apply(device=device, for_training=for_training)


def as_checkpoint(weights: Weights) -> Checkpoint:
    """The weights as a checkpoint, whichever way they were given."""
    if isinstance(weights, Checkpoint):
        return weights
    if isinstance(weights, nn.Module):
        weights = weights.state_dict()
    if isinstance(weights, Mapping):
        tensors = {key: value for key, value in weights.items() if isinstance(value, torch.Tensor)}
        refuse_shards(tensors)
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
    unmatched, dropped = set(matching.unmatched_sources), set(matching.dropped)

    def state(name: str) -> tuple[str, str]:
        if name in used:
            return "used", f"goes to {', '.join(used[name])}"
        if name in dropped:
            return "unused", "its block is not among the layers chosen"
        if name in unmatched:
            return "unused", "the model has no place for it"
        return "unused", refused.get(name, "its place in the model is filled by a tied tensor")

    return tuple(
        SourceEntry(name, ref.shape, ref.dtype, *state(name))  # type: ignore[arg-type]  # a literal pair
        for name, ref in source.items()
    )
