"""What else in a detector has an entry for every class: weights of its loss, embeddings to learn with."""

from __future__ import annotations

import torch
from torch import nn

from torchgraft.surgery.edits import Edits

__all__ = ["resize_class_tables"]


def resize_class_tables(model: nn.Module, old: int, new: int, edits: Edits) -> None:
    """Collect the edits that give these tables `new` classes in place of `old`.

    Both are known by transformers' names for them. MaskFormer's loss weighs all classes alike, and
    "no object" less; RT-DETR learns to denoise boxes, from embeddings of their classes, which start fresh.
    """
    for path, module in model.named_modules():
        weights = getattr(module, "empty_weight", None)
        if isinstance(weights, torch.Tensor) and weights.shape == (old + 1,):
            edits.attribute(module, "empty_weight", torch.cat([weights[:1].expand(new), weights[-1:]]))
            edits.attribute(module, "num_labels", new)
        named = path.rpartition(".")[2] == "denoising_class_embed"
        if named and isinstance(module, nn.Embedding) and module.num_embeddings in (old, old + 1):
            _resize_embedding(module, old, new, edits)


def _resize_embedding(module: nn.Embedding, old: int, new: int, edits: Edits) -> None:
    kept = module.weight.detach()[old:]  # that of no class, if there is one
    fresh = kept.new_empty(new, module.embedding_dim).normal_()
    edits.parameter(module, "weight", torch.cat([fresh, kept]))
    edits.attribute(module, "num_embeddings", new + len(kept))
    if module.padding_idx == old:
        edits.attribute(module, "padding_idx", new)
