"""`create_model`: a model by name, with weights, and changed as asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from torchgraft.anatomy import adapt, examine
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AnatomyError, ModelError
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info, info_of
from torchgraft.planning import Plan, plan
from torchgraft.zoo.skeleton import has_unsaved_tensors, skeleton
from torchgraft.zoo.sources import Published, Source, find_source
from torchgraft.zoo.weights import open_weights

if TYPE_CHECKING:
    from torchgraft.adapting import InMode
    from torchgraft.matching import Renames

__all__ = ["check_arguments", "create_model", "fill"]

_LOADS_BY_ITSELF = ("pretrained", "weights", "checkpoint_path")


def create_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | Checkpoint | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    source_labels: Sequence[str] | None = None,
    in_mode: InMode = "repeat",
    rename: Renames | None = None,
    allow_fresh: str | Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    **builder_args: Any,
) -> nn.Module:
    """Build a model, fill it, change its input channels and classes; it comes in evaluation mode.

    Args:
        name: `"torchvision/resnet18"`, `"timm/tf_efficientnet_lite0"` or `"your_module:function"`.
        weights: `None` for the model's own initialisation; `"DEFAULT"` or another name of published
            weights; a path, a URL, or an opened checkpoint.
        in_channels: Input channels wanted; the stem's weights are kept as `in_mode` says.
        num_classes: Classes wanted.
        labels: Their names, in order; alone it also gives their number.
        source_labels: Class names of the weights, where the source does not know them. With `labels`,
            rows of classes that both have are kept.
        in_mode: How new input channels are filled, see `torchgraft.adapt`.
        rename: Rules for the checkpoint's names, see `torchgraft.plan`.
        allow_fresh: What the weights need not cover, see `torchgraft.plan`.
        preprocessing: What the weights were trained with, where the source's usual settings are not it.
        **builder_args: Further arguments of the library's own builder.

    Raises:
        UnknownModelError: There is no such model; the nearest names are listed.
        ModelError: It can't be built so, or has no such weights.
        CoverageError: The weights leave undeclared parts of the model untrained.
        CheckpointError, MatchError, FetchError: The weights can't be read, matched, fetched.
    """
    check_arguments(builder_args)
    if source_labels is not None and weights is None:
        raise ModelError("source_labels are the weights' class names, and there are no weights", where=name)
    source, inner = find_source(name)
    checkpoint, published = (None, None) if weights is None else open_weights(source, inner, weights)
    info = ModelInfo(
        builder=name,
        builder_args=builder_args,
        labels=_known_labels(source_labels, published),
        preprocessing=preprocessing or _usual_preprocessing(source, inner, published),
    )

    def build() -> nn.Module:
        return source.build(inner, builder_args)

    if checkpoint is None:
        model = build()
        attach_info(model, replace(info, labels=None))
    else:
        model = fill(build, info, checkpoint, rename=rename, allow_fresh=allow_fresh)
        if source_labels is not None and info_of(model).labels is None:
            raise ModelError(
                f"{len(source_labels)} source_labels don't fit the head of these weights",
                where=name,
                hint="give one for each row, in order",
            )
    if in_channels is not None or num_classes is not None or labels is not None:
        adapt(model, in_channels=in_channels, num_classes=num_classes, labels=labels, in_mode=in_mode)
    return model.eval()


def check_arguments(builder_args: Mapping[str, Any]) -> None:
    """Refuse arguments that make a library's builder read or fetch files by itself."""
    for argument in builder_args:
        if argument.startswith(_LOADS_BY_ITSELF):
            raise ModelError(f"the builder may not load weights by itself: {argument}=", hint="give weights=")


def fill(
    build: Callable[[], nn.Module],
    info: ModelInfo,
    checkpoint: Checkpoint,
    *,
    rename: Renames | None = None,
    allow_fresh: str | Sequence[str] = (),
) -> nn.Module:
    """Build a model and put the checkpoint into it, without initialising what is then overwritten.

    Where the checkpoint's own stem or head is of another size than the builder's (a fine-tuned model's
    21 classes), the model is first brought to that size, so that nothing of it is lost.
    """

    def prepared(model: nn.Module) -> tuple[nn.Module, Plan]:
        first = plan(model, checkpoint, rename=rename, allow_fresh=allow_fresh)
        attach_info(model, info)
        sizes = _sizes_in(first)
        if not sizes:
            return model, first
        adapt(model, **sizes)
        return model, plan(model, checkpoint, rename=rename, allow_fresh=allow_fresh)

    model = skeleton(build)
    if model is not None:
        model, fitted = prepared(model)
        if any(entry.status == "fresh" for entry in fitted) or has_unsaved_tensors(model):
            if fitted.undeclared:
                fitted.apply()  # raises the gate's own error, before anything is built for real
            model = None
    if model is None:
        model, fitted = prepared(build())
    fitted.apply()
    labels = info.labels if info.labels and _fit_head(info.labels, model, fitted) else None
    attach_info(model, replace(info_of(model), labels=labels, weights=fitted.provenance))
    return model


def _sizes_in(first: Plan) -> dict[str, Any]:
    """How the checkpoint's stem and head differ in size from the model's, as arguments of `adapt`."""
    sizes: dict[str, Any] = {}
    for entry in first.targets:
        there, here = entry.source_shape, entry.shape
        if there is None or there == here or len(there) != len(here) or len(here) < 2:
            continue
        site = entry.name.rpartition(".")[0]
        if entry.role == "head" and there[1:] == here[1:]:
            sizes["num_classes"] = there[0]
            sizes.setdefault("head", []).append(site)
        elif entry.role == "stem" and (there[0], *there[2:]) == (here[0], *here[2:]):
            sizes["in_channels"] = there[1]
            sizes.setdefault("stem", []).append(site)
    return sizes


def _fit_head(labels: Sequence[str], model: nn.Module, fitted: Plan) -> bool:
    """Whether a head has as many rows as there are labels; heads that can't be told are not doubted."""
    known = [entry for entry in fitted.targets if entry.role == "head"]
    if len(labels) in {entry.shape[0] for entry in known or fitted.targets[-2:] if entry.shape}:
        return True  # where nobody has asked for roles, the end of the list is where a head usually is
    try:
        sizes = {site.out_size for site in examine(model).heads}
    except AnatomyError:
        return True
    return not sizes or len(labels) in sizes


def _known_labels(source_labels: Sequence[str] | None, published: Published | None) -> tuple[str, ...] | None:
    if source_labels is not None:
        return tuple(source_labels)
    return published.labels if published is not None else None


def _usual_preprocessing(source: Source, inner: str, published: Published | None) -> Preprocessing | None:
    if published is not None and published.preprocessing is not None:
        return published.preprocessing
    return source.preprocessing(inner)
