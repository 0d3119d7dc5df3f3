"""Which layers are tables over tokens: the embedding that sees them, and the head that gives their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from torchgraft.adapting import RowMap, match_tokens
from torchgraft.anatomy.sites import Anatomy, Site, matrix_layers, site_at
from torchgraft.errors import AdaptError
from torchgraft.tokens import Tokens, read_tokens

__all__ = ["beside_tables", "rows_of", "token_map", "vocabulary_tables"]


def vocabulary_tables(model: nn.Module, found: Anatomy) -> tuple[Site, ...]:
    """The embeddings among the stems, heads of as many outputs, and layers that share their weights.

    Where a model takes several whole-number inputs (tokens and their types), the largest embedding counts,
    with those of its size. A transformers model is asked for its tables, too.

    Args:
        model: The model.
        found: What running it showed.
    """
    embeddings = [*(site for site in found.stems if site.kind == "embedding"), *_named(model, "input")]
    if not embeddings:
        return ()
    size = max(site.in_size for site in embeddings)
    sites = [site for site in embeddings if site.in_size == size]
    heads = [*found.heads, *_named(model, "output")]
    sites += [site for site in heads if site.kind == "linear" and site.out_size == size]
    weights = {id(getattr(model.get_submodule(site.path), "weight", None)) for site in sites}
    tied = [
        site_at(path, layer)
        for path, layer in matrix_layers(model)
        if id(getattr(layer, "weight", 0)) in weights
    ]
    return tuple({site.path: site for site in (*sites, *tied) if rows_of(site) == size}.values())


def rows_of(table: Site) -> int:
    """How many rows it has."""
    return table.in_size if table.kind == "embedding" else table.out_size


def beside_tables(model: nn.Module, tables: Sequence[Site]) -> Iterator[tuple[nn.Module, str, torch.Tensor]]:
    """Tensors with a number a token which modules around a table hold, such as BART's `final_logits_bias`.

    Each with its module and its name there.
    """
    sizes = {rows_of(table) for table in tables}
    around = {""} | {
        ".".join(parts[:end]) for parts in (t.path.split(".") for t in tables) for end in range(len(parts))
    }
    for path in sorted(around):
        module = model.get_submodule(path)
        held = (
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        )
        for name, tensor in held:
            if tensor.is_floating_point() and tensor.ndim and tensor.numel() == tensor.shape[-1] in sizes:
                yield module, name, tensor


def token_map(source: Tokens | None, target: Tokens | None) -> RowMap | None:
    """The arguments `source_tokens` and `tokens`, read and paired; `None` without them.

    Raises:
        DataError: They can't be read.
        AdaptError: Only one is given, or they can't be paired.
    """
    if source is None and target is None:
        return None
    if source is None or target is None:
        missing = ("source_tokens", "the checkpoint's") if source is None else ("tokens", "the model's")
        raise AdaptError(
            f"the tokens of one side are given, {missing[1]} are not", hint=f"give {missing[0]}=…, too"
        )
    return match_tokens(read_tokens(source), read_tokens(target))


def _named(model: nn.Module, end: str) -> Iterator[Site]:
    """What a transformers model says itself, under names that models of other makes don't have."""
    ask = getattr(model, f"get_{end}_embeddings", None)
    try:
        layer = ask() if callable(ask) else None
    except (AttributeError, NotImplementedError):
        layer = None
    if isinstance(layer, (nn.Embedding, nn.Linear)):
        for path, module in model.named_modules():
            if module is layer:
                yield site_at(path, module)
                return
