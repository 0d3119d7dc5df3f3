"""What must hold before a layer's parameters are exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError

__all__ = ["changeable", "common_size"]


def changeable(
    model: nn.Module, site: Site, role: str, together: Sequence[str] = ()
) -> tuple[nn.Module, nn.Parameter]:
    """The layer and its weight, if their size can be changed.

    Args:
        model: The model.
        site: The layer.
        role: `"stem"` or `"head"`, for messages.
        together: Paths of the layers that are changed with it.

    Raises:
        AdaptError: It is of a kind that can't, computes its weight, or shares it with one that stays.
    """
    module = model.get_submodule(site.path)
    where = f"{role} {site.path!r} ({type(module).__name__})"
    if site.kind not in ("conv", "linear"):
        raise AdaptError(
            f"its size can't be changed: it is {_called(site)}, not a convolution or Linear", where=where
        )
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    if weight is None:
        raise AdaptError(
            "its weight is computed from other parameters",
            where=where,
            hint="remove it first: torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')",
        )
    for path, other in model.named_modules():
        stays = other is not module and path not in together
        if stays and any(held is weight for held in other.parameters(recurse=False)):
            raise AdaptError(f"its weight is shared with {path!r}, which would change too", where=where)
    return module, weight


def common_size(sites: Sequence[Site], role: str) -> int:
    """The size that these stems take or these heads give.

    Raises:
        AdaptError: They differ.
    """
    sizes = {site.path: site.channels if role == "stem" else site.classes for site in sites}
    if len(set(sizes.values())) != 1:
        listed = ", ".join(f"{path} ({size})" for path, size in sizes.items())
        raise AdaptError(
            f"the model has {role}s of different sizes: {listed}", hint=f'name those to change: {role}="…"'
        )
    return next(iter(sizes.values()))


def _called(site: Site) -> str:
    return {
        "embedding": "an embedding",
        "recurrent": "recurrent",
        "conv-transpose": "a transposed convolution",
    }.get(site.kind, "a layer of its own kind")
