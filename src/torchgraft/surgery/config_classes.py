"""What a model's config says of its classes, brought up to date."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from torchgraft.surgery.edits import Edits

__all__ = ["name_classes", "retarget"]


def name_classes(model: nn.Module, labels: Sequence[str], edits: Edits) -> None:
    """Collect the edits by which the model's config names its classes so, if it has a place for names."""
    config = getattr(model, "config", None)
    if hasattr(config, "id2label") and hasattr(config, "label2id"):
        edits.attribute(config, "id2label", dict(enumerate(labels)))
        edits.attribute(config, "label2id", {label: place for place, label in enumerate(labels)})


def retarget(model: nn.Module, old: int, new: int, edits: Edits) -> None:
    """Collect the edits of what else a config says that depends on the number of classes.

    `problem_type` chooses the loss, and `vocab_size` is the size of a CTC model's head.
    """
    config = getattr(model, "config", None)
    problem = getattr(config, "problem_type", None)
    if (problem == "regression" and old == 1) or (problem == "single_label_classification" and new == 1):
        edits.attribute(config, "problem_type", None)
    embeddings = (module for module in model.modules() if isinstance(module, nn.Embedding))
    if getattr(config, "vocab_size", None) == old and all(one.num_embeddings != old for one in embeddings):
        edits.attribute(config, "vocab_size", new)
