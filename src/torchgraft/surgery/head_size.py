"""Another set of classes for the layers that give them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import nn

from torchgraft.adapting import Change, ClassMap, RowBlocks, RowMap, Rows, find_ops, map_classes
from torchgraft.anatomy.configs import finds_objects, rows_beyond_labels
from torchgraft.anatomy.mode_rules import ModeRules
from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError
from torchgraft.labels import comparable
from torchgraft.surgery.class_tables import resize_class_tables
from torchgraft.surgery.config_classes import retarget
from torchgraft.surgery.edits import Edits
from torchgraft.surgery.layers import changeable, common_size
from torchgraft.surgery.mirrors import HEAD_NAMES, mirror
from torchgraft.surgery.new_head import fill_placeholder

__all__ = ["classes_of", "resize_head"]

_log = logging.getLogger(__name__)


def classes_of(model: nn.Module, heads: Sequence[Site]) -> int:
    """How many classes the heads give.

    Raises:
        AdaptError: They differ.
    """
    size = common_size(heads, "head")
    return size - rows_beyond_labels(model, size)


def resize_head(
    model: nn.Module,
    heads: Sequence[Site],
    classes: int,
    known: Sequence[str] | None,
    labels: Sequence[str] | None,
    said: ClassMap | None,
    rules: ModeRules,
    edits: Edits,
) -> bool:
    """Collect the edits that give every head `classes` rows; tell whether there are any.

    Args:
        model: The model.
        heads: Its heads, all of one size.
        classes: Rows wanted.
        known: Names of the present rows, if the model knows them.
        labels: Names of the wanted rows, if given.
        said: Which old classes the wanted ones are, where that is said.
        rules: In which modes.
        edits: Where the changes are collected.

    Raises:
        AdaptError: A head can't be changed so.
    """
    size = common_size(heads, "head")
    beyond = rows_beyond_labels(model, size)
    have = size - beyond
    names = known if known is not None and len(known) == have else None
    names, labels = comparable(names, labels)
    rows = map_classes(said, source=names, target=labels, source_rows=have)
    if rows is not None:
        _log.info("%d of %d classes keep their rows", rows.carried, classes)
    if rows.identity if rows is not None else classes == have:
        return False
    if beyond:  # a detector's "no object" stays what it is, after the classes
        sources = rows.sources if rows is not None else (None,) * classes
        rows = RowMap.of((*sources, *range(have, size)), size)
    together = [site.path for site in heads]
    tied: dict[int, nn.Parameter] = {}
    for site in heads:
        if site.kind == "placeholder":
            fill_placeholder(model, site, classes, edits)
        else:
            changeable(model, site, "head", together)
            _resize_one(model, site, classes + beyond, rows, rules, tied, edits)
        if classes != have:
            mirror(model, site.path, HEAD_NAMES, have, classes, edits)
    if classes != have:
        retarget(model, have, classes, edits)
        resize_class_tables(model, have, classes, edits)
    return True


def _resize_one(
    model: nn.Module,
    site: Site,
    classes: int,
    rows: RowMap | None,
    rules: ModeRules,
    tied: dict[int, nn.Parameter],
    edits: Edits,
) -> None:
    module = model.get_submodule(site.path)
    if site.groups != 1:
        raise AdaptError(
            f"its classes can't be changed: it is a convolution of {site.groups} groups", where=site.path
        )
    size_name = "out_channels" if site.kind == "conv" else "out_features"
    blocks = site.blocks or RowBlocks()
    height = blocks.rows(classes)
    for name, fresh in _fresh(module, size_name, height).items():
        old = getattr(module, name)
        if id(old) in tied:  # with another head's, and stays so
            edits.attribute(module, name, tied[id(old)])
            continue
        if name == "bias" and (site.blocks is not None or finds_objects(model)):
            # Detectors with a sigmoid begin at a low prior probability, without which their loss explodes.
            fresh = old.detach().mean().repeat(height)
        new = fresh
        modes = rules.of(f"{site.path}.{name}" if site.path else name)
        change = blocks.applied(Change(tuple(old.shape), tuple(fresh.shape), "head", modes, rows=rows))
        if change.rows is not None and (change.rows.carried or change.mode(Rows.name, "model") != "model"):
            new = old.detach()
            for op in find_ops(change):
                new = op.apply(new, fresh)
        tied[id(old)] = edits.parameter(module, name, new.to(old.dtype))
    edits.attribute(module, size_name, height)


def _fresh(module: nn.Module, size_name: str, classes: int) -> dict[str, torch.Tensor]:
    """The layer's parameters for so many classes, as its class initialises them.

    Raises:
        AdaptError: The class has no `reset_parameters`, or parameters beside weight, bias and single
            numbers, such as a cosine classifier's scale, which stay.
    """
    own = dict(module.named_parameters(recurse=False))
    shared = {name for name, held in own.items() if held.numel() == 1 and name not in ("weight", "bias")}
    twin = copy.copy(module)
    # The copy shares its registries with the layer until it gets one of its own.
    vars(twin)["_parameters"] = {**vars(module)["_parameters"]}
    for name, held in own.items():
        empty = held.detach().clone() if name in shared else held.new_empty((classes, *held.shape[1:]))
        setattr(twin, name, nn.Parameter(empty))
    vars(twin)[size_name] = classes
    reset = getattr(twin, "reset_parameters", None)
    if reset is None or set(own) - {"weight", "bias"} - shared:
        raise AdaptError(
            f"it is not known how {type(module).__name__} initialises its parameters for other classes",
        )
    with torch.no_grad():
        reset()
    made = twin.named_parameters(recurse=False)
    return {name: held.detach() for name, held in made if name not in shared}
