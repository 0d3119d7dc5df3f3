"""A head for a model that gives features and keeps an `nn.Identity` where its head would be."""

from __future__ import annotations

from torch import nn

from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError
from torchgraft.surgery.edits import Edits

__all__ = ["fill_placeholder"]


def fill_placeholder(model: nn.Module, site: Site, classes: int, edits: Edits) -> None:
    """Collect the edit that puts a `Linear` there, initialised as its class does.

    Raises:
        AdaptError: It was not seen at work, so that the number of features is not known.
    """
    if not site.in_size:
        raise AdaptError(
            "it is an Identity that the model does not use on the example, so that its features are unknown",
            where=f"head {site.path!r}",
        )
    like = next((held for held in model.parameters() if held.is_floating_point()), None)
    layer = nn.Linear(
        site.in_size,
        classes,
        device=like.device if like is not None else None,
        dtype=like.dtype if like is not None else None,
    )
    parent, _, name = site.path.rpartition(".")
    owner = model.get_submodule(parent)
    edits.attribute(owner, name, layer.train(owner.training))
