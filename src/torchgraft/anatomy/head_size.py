"""Another set of classes for the layers that give them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import nn

from torchgraft.adapting import RowMap, Rows, match_labels
from torchgraft.anatomy.edits import Edits
from torchgraft.anatomy.layers import changeable, common_size
from torchgraft.anatomy.mirrors import HEAD_NAMES, mirror
from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError

__all__ = ["resize_head"]

_log = logging.getLogger(__name__)


def resize_head(
    model: nn.Module,
    heads: Sequence[Site],
    classes: int,
    known: Sequence[str] | None,
    labels: Sequence[str] | None,
    edits: Edits,
) -> bool:
    """Collect the edits that give every head `classes` rows; tell whether there are any.

    Args:
        model: The model.
        heads: Its heads, all of one size.
        classes: Rows wanted.
        known: Names of the present rows, if the model knows them.
        labels: Names of the wanted rows, if given.
        edits: Where the changes are collected.

    Raises:
        AdaptError: A head can't be changed so.
    """
    have = common_size(heads, "head")
    rows = None
    if labels is not None and known is not None and len(known) == have:
        rows = match_labels(known, labels)
        _log.info("%d of %d classes keep their rows", rows.carried, classes)
    if rows.identity if rows is not None else classes == have:
        return False
    for site in heads:
        _resize_one(model, site, classes, rows, edits)
        if classes != have:
            mirror(model, site.path, HEAD_NAMES, have, classes, edits)
    return True


def _resize_one(model: nn.Module, site: Site, classes: int, rows: RowMap | None, edits: Edits) -> None:
    module, _ = changeable(model, site, "head")
    if site.groups != 1:
        raise AdaptError(
            f"its classes can't be changed: it is a convolution of {site.groups} groups", where=site.path
        )
    size_name = "out_channels" if site.kind == "conv" else "out_features"
    for name, fresh in _fresh(module, size_name, classes).items():
        old = getattr(module, name)
        new = fresh if rows is None else Rows(rows.rows, rows.source_rows).apply(old.detach(), fresh)
        edits.parameter(module, name, new.to(old.dtype))
    edits.attribute(module, size_name, classes)


def _fresh(module: nn.Module, size_name: str, classes: int) -> dict[str, torch.Tensor]:
    """The layer's parameters for so many classes, as its class initialises them.

    Raises:
        AdaptError: The class has no `reset_parameters`, or parameters beside weight and bias.
    """
    own = dict(module.named_parameters(recurse=False))
    twin = copy.copy(module)
    # The copy shares its registries with the layer until it gets one of its own.
    vars(twin)["_parameters"] = {**vars(module)["_parameters"]}
    for name, held in own.items():
        setattr(twin, name, nn.Parameter(held.new_empty((classes, *held.shape[1:]))))
    vars(twin)[size_name] = classes
    reset = getattr(twin, "reset_parameters", None)
    if reset is None or set(own) - {"weight", "bias"}:
        raise AdaptError(
            f"it is not known how {type(module).__name__} initialises its parameters for other classes",
        )
    with torch.no_grad():
        reset()
    return {name: held.detach() for name, held in twin.named_parameters(recurse=False)}
