"""Layers that matter by their place in a model: what they are and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from torch import nn

from torchgraft.adapting import InputLayout, RowBlocks
from torchgraft.errors import AnatomyError

__all__ = ["Anatomy", "Kind", "Site", "matrix_layers", "named_sites", "site_at"]

Kind: TypeAlias = Literal[
    "conv", "linear", "embedding", "conv-transpose", "recurrent", "placeholder", "other"
]


@dataclass(frozen=True, slots=True)
class Site:
    """A layer and its size.

    Attributes:
        path: Its name in `model.named_modules()`; `""` if the model is that layer.
        kind: What it is; `adapt` changes `"conv"` (1 to 3 dimensions) and `"linear"`, and puts a head in the
            place of a `"placeholder"`, an `nn.Identity`.
        in_size: Input channels or features, of all groups; an embedding's vocabulary; 0 where unknown.
        out_size: Output channels or features; 0 where unknown.
        groups: Groups of a convolution, else 1.
        blocks: How the rows of a detector's head are laid out; `None` for every other layer.
        layout: How the input's channels lie in a stem that sees them several times; `None` for others.
    """

    path: str
    kind: Kind
    in_size: int
    out_size: int
    groups: int = 1
    blocks: RowBlocks | None = None
    layout: InputLayout | None = None

    @property
    def channels(self) -> int:
        """The channels of the input if it is a stem: its `in_size`, unless it sees each several times."""
        return self.in_size if self.layout is None else self.layout.channels

    @property
    def classes(self) -> int:
        """The classes that it gives if it is a head: its `out_size`, but for a detector's."""
        return self.out_size if self.blocks is None else self.blocks.classes(self.out_size)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The ends of a model.

    Attributes:
        stems: Layers that see the input before any other layer has, in the order they run.
        heads: Layers that give the outputs, in the order they run; empty for a model that gives features.
        notes: Why something was not found.
        placeholder: Where a model that gives features keeps an `nn.Identity` for a head.
    """

    stems: tuple[Site, ...]
    heads: tuple[Site, ...]
    notes: tuple[str, ...] = ()
    placeholder: Site | None = None


def matrix_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that mix features by weights, with their paths: convolutions, `Linear`, `Embedding`, RNNs
    and whatever else holds a weight of two dimensions and no layers of its own.

    Norms and scales, whose weights are vectors, are none.
    """
    return [(path, module) for path, module in model.named_modules() if _is_matrix_layer(module)]


def site_at(path: str, module: nn.Module) -> Site:
    """The layer's kind and size, by its class or by its attributes and weight."""
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return Site(path, "embedding", module.num_embeddings, module.embedding_dim)
    if isinstance(module, nn.RNNBase):
        width = module.proj_size or module.hidden_size
        return Site(path, "recurrent", module.input_size, width * (2 if module.bidirectional else 1))
    shape = tuple(getattr(getattr(module, "weight", None), "shape", ()))
    ins, outs = _size(module, "in_features"), _size(module, "out_features")
    if shape == (outs, ins):
        return Site(path, "linear", ins, outs)
    ins, outs = _size(module, "in_channels"), _size(module, "out_channels")
    groups = _size(module, "groups") or 1
    if 3 <= len(shape) <= 5 and ins and outs:
        if getattr(module, "transposed", False):
            return Site(path, "conv-transpose", ins, outs, groups)
        if shape[:2] == (outs, ins // groups):
            return Site(path, "conv", ins, outs, groups)
    return Site(path, "other", 0, 0)


def named_sites(model: nn.Module, names: str | Sequence[str], role: str) -> tuple[Site, ...]:
    """The layers that the user named as the model's stem or head.

    A block that holds just one layer stands for that layer.

    Raises:
        AnatomyError: There is no such module, or it is not one layer; near names are listed.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise AnatomyError(f"no {role} is named", hint=f'{role}="path.of.the.layer"')
    return tuple(_named_site(model, name, role) for name in names)


def _named_site(model: nn.Module, name: str, role: str) -> Site:
    modules = dict(model.named_modules())
    where = type(model).__name__
    layers = [path for path, _ in matrix_layers(model)]
    if name not in modules:
        near = get_close_matches(name, layers, n=3, cutoff=0.4) or (
            layers[:3] if role == "stem" else layers[-3:]
        )
        raise AnatomyError(
            f"there is no module {name!r} to be the {role}", where=where, hint=f"near it: {near}"
        )
    if role == "head" and isinstance(modules[name], nn.Identity):
        return Site(name, "placeholder", 0, 0)
    inside = [path for path in layers if path == name or not name or path.startswith(f"{name}.")]
    if len(inside) != 1:
        raise AnatomyError(
            f"the {role} {name!r} ({type(modules[name]).__name__}) has {len(inside)} layers, one is needed",
            where=where,
            hint=f"name one of {inside}" if inside else None,
        )
    return site_at(inside[0], modules[inside[0]])


def _is_matrix_layer(module: nn.Module) -> bool:
    if isinstance(module, (nn.Linear, nn.Embedding, nn.EmbeddingBag, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return True  # also one whose weight a parametrization inside it computes
    if next(module.children(), None) is not None:
        return False
    return any(
        sum(size != 1 for size in parameter.shape) >= 2 for parameter in module.parameters(recurse=False)
    )


def _size(module: nn.Module, name: str) -> int:
    value = getattr(module, name, 0)
    return value if isinstance(value, int) else 0
