"""Last layers whose rows are something else than classes, though their outputs are called logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from torchgraft.anatomy.class_outputs import names_classes
from torchgraft.anatomy.sites import Site
from torchgraft.anatomy.tracing import Trace

__all__ = ["why_no_classes"]


def why_no_classes(model: nn.Module, trace: Trace, heads: Sequence[Site]) -> str | None:
    """Why these layers of a model with a `config.num_labels` give no classes; `None` if they may.

    Transformers' models for questions split the two values of each token into starts and ends, those for
    multiple choice make a row of one score for each choice, and those for speakers return the embedding that
    their loss compares with the classes.
    """
    labels = getattr(getattr(model, "config", None), "num_labels", None)
    if not isinstance(labels, int) or not hasattr(model, "main_input_name"):
        return None
    fitting = any(site.out_size in (labels, labels + 1) for site in heads)
    if trace.names and not names_classes(trace.names) and not fitting:
        return f"its outputs are features: {', '.join(trace.names)}"
    sizes = {size for shape in trace.output_shapes for size in shape[1:]}
    for site in heads:
        if site.out_size and site.out_size not in sizes:
            given = ", ".join(str(list(shape)) for shape in trace.output_shapes)
            return f"the {site.out_size} rows of {site.path!r} are no classes: what they give becomes {given}"
    if fitting:
        return None
    for path, module in model.named_modules():
        if path not in trace.paths and _holds_matrix_of(labels, module):
            return f"its outputs are features, and its {labels} classes in {path!r}, which only a loss uses"
    return None


def _holds_matrix_of(labels: int, module: nn.Module) -> bool:
    if isinstance(module, nn.Embedding):
        return False
    return any(held.ndim == 2 and labels in held.shape for held in module.parameters(recurse=False))
