"""`create_model`: a model by name, with weights, and changed as asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from torchgraft.anatomy import examine, row_blocks
from torchgraft.anatomy.image_attributes import IMAGE_NAMES, image_sizes_of
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AnatomyError, ModelError
from torchgraft.labels import Labels, read_labels
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info, info_of
from torchgraft.planning import Plan, plan
from torchgraft.planning.labelling import labels_of
from torchgraft.surgery import adapt
from torchgraft.zoo.near_names import resolved
from torchgraft.zoo.placing import placed
from torchgraft.zoo.skeleton import has_unsaved_tensors, skeleton
from torchgraft.zoo.sources import PublishedWeights, Settled, Source, find_source
from torchgraft.zoo.weights import open_weights

if TYPE_CHECKING:
    import torch

    from torchgraft.adapting import ClassMap, InMode
    from torchgraft.matching import Renames
    from torchgraft.surgery.image_size import ImageSize
    from torchgraft.tokens import Tokens

__all__ = ["check_arguments", "create_model", "fill"]

_LOADS_BY_ITSELF = ("pretrained", "weights", "checkpoint_path")


def create_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | Checkpoint | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    labels: Labels | None = None,
    source_labels: Labels | None = None,
    class_map: ClassMap | None = None,
    vocabulary: int | None = None,
    tokens: Tokens | None = None,
    source_tokens: Tokens | None = None,
    image_size: ImageSize | None = None,
    in_mode: InMode = "repeat",
    modes: Mapping[str, object] | None = None,
    rename: Renames | None = None,
    allow_fresh: str | Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    for_training: bool = False,
    **builder_args: Any,
) -> nn.Module:
    """Build a model, fill it, change its input channels and classes; it comes in evaluation mode.

    Args:
        name: `"torchvision/resnet18"`, `"timm/tf_efficientnet_lite0"`, `"hf/google/vit-base-patch16-224"`,
            `"hf/./folder"` or `"your_module:function"`. A name that is right but for capitals, separators
            or a missing library is resolved, with a note in the log.
        weights: `None` for the model's own initialisation; `"DEFAULT"` or another name of published
            weights; a path, a URL, or an opened checkpoint.
        in_channels: Input channels wanted; the stem's weights are kept as `in_mode` says.
        num_classes: Classes wanted.
        labels: Their names, in order, or a file of them; alone it also gives their number.
        source_labels: Class names of the weights, likewise, where neither the library nor the file says them.
            With `labels`, rows of classes that both have are kept.
        class_map: Which old class each new one is, where their names do not tell, see `torchgraft.adapt`.
        vocabulary: How many tokens the model shall know; the first rows of the weights are kept.
        tokens: The tokens that it shall know, see `torchgraft.adapt`; needs those of the weights.
        source_tokens: The tokens of the weights.
        image_size: The side, or height and width, of the images that it shall take; positions are resampled,
            see `torchgraft.adapt`. Without it, a model is of the size of its weights, unless an argument of
            the builder says one (timm's `img_size`).
        in_mode: How new input channels are filled, see `torchgraft.adapt`.
        modes: The same for every kind of step that has modes, or for single tensors.
        rename: Rules for the checkpoint's names, see `torchgraft.plan`.
        allow_fresh: What the weights need not cover, see `torchgraft.plan`.
        preprocessing: What the weights were trained with, where the source's usual settings are not it.
        dtype: Of its floating-point tensors. Each is read from the file straight into it, and onto `device`,
            unless the model has to be built with values of its own first: then those are converted.
        device: Where the model is to be.
        for_training: Say so if all weights will be written to: the file is read into the model's memory in
            one go. Else it is mapped, which takes next to no time, see `torchgraft.Plan.apply`.
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
    names = read_labels(source_labels) if source_labels is not None else None
    name = resolved(name)
    source, inner = find_source(name)
    checkpoint, published = (None, None) if weights is None else open_weights(source, inner, weights)
    builder_args = {**(published.builder_args if published is not None else {}), **builder_args}
    if isinstance(source, Settled):
        builder_args = dict(source.settled(inner, builder_args))
    info = ModelInfo(
        builder=name,
        builder_args=builder_args,
        labels=_known_labels(names, published, checkpoint),
        preprocessing=preprocessing or _usual_preprocessing(source, inner, published),
    )

    def build() -> nn.Module:
        return source.build(inner, builder_args)

    if checkpoint is None:
        model = placed(build(), dtype, device)
        attach_info(model, replace(info, labels=None))
    else:
        if rename is None and published is not None:
            rename = published.rename or None
        model = fill(
            build,
            info,
            checkpoint,
            rename=rename,
            allow_fresh=allow_fresh,
            dtype=dtype,
            device=device,
            for_training=for_training,
        )
        if published is not None:
            filled = info_of(model)
            attach_info(model, replace(filled, weights={**filled.weights, **published.provenance}))
        if names is not None and info_of(model).labels is None:
            raise ModelError(
                f"{len(names)} source_labels don't fit the head of these weights",
                where=name,
                hint="give one for each row, in order",
            )
    sizes = (in_channels, num_classes, labels, class_map, vocabulary, tokens, source_tokens, image_size)
    if any(size is not None for size in sizes):
        adapt(
            model,
            in_channels=in_channels,
            num_classes=num_classes,
            labels=labels,
            class_map=class_map,
            vocabulary=vocabulary,
            tokens=tokens,
            source_tokens=source_tokens,
            image_size=image_size,
            in_mode=in_mode,
            modes=modes,
        )
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
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    for_training: bool = False,
) -> nn.Module:
    """Build a model and put the checkpoint into it, without initialising what is then overwritten.

    Where the checkpoint's own stem or head is of another size than the builder's (a fine-tuned model's
    21 classes), the model is first brought to that size, so that nothing of it is lost.
    """

    def prepared(model: nn.Module) -> tuple[nn.Module, Plan]:
        placed(model, dtype, device)
        first = plan(model, checkpoint, rename=rename, allow_fresh=allow_fresh)
        attach_info(model, info)
        sizes = _sizes_in(first, model)
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
    fitted.apply(device=device, for_training=for_training)
    labels = info.labels if info.labels and _fit_head(info.labels, model, fitted) else None
    attach_info(model, replace(info_of(model), labels=labels, weights=fitted.provenance))
    return model


def _sizes_in(first: Plan, model: nn.Module) -> dict[str, Any]:
    """How the checkpoint's ends, and its images, differ in size from the model's, as arguments of `adapt`."""
    sizes: dict[str, Any] = _image_size_in(first, model)
    rows: dict[str, int] = {}
    for entry in first.targets:
        there, here = entry.source_shape, entry.shape
        if there is None or there == here or len(there) != len(here) or len(here) < 2:
            continue
        site = entry.name.rpartition(".")[0]
        if entry.role == "head" and there[1:] == here[1:]:
            rows[site] = there[0]
        elif entry.role == "vocabulary" and there[1:] == here[1:]:
            sizes["vocabulary"] = there[0]
            sizes.setdefault("tables", []).append(site)
        elif entry.role == "stem" and (there[0], *there[2:]) == (here[0], *here[2:]):
            sizes["in_channels"] = there[1]
            sizes.setdefault("stem", []).append(site)
    if rows:
        blocks = row_blocks(model)
        each = {site: height // (blocks[site].size if site in blocks else 1) for site, height in rows.items()}
        sizes |= {"head": list(rows), "num_classes": next(iter(each.values()))}
    return sizes


def _image_size_in(first: Plan, model: nn.Module) -> dict[str, tuple[int, int]]:
    """The size of the images that the checkpoint's positions are for, where the user named none."""
    if set(IMAGE_NAMES) & set(info_of(model).builder_args):
        return {}
    sizes = image_sizes_of([op for entry in first.targets for op in entry.ops], model)
    return {"image_size": sizes[0]} if len(sizes) == 1 else {}


def _fit_head(labels: Sequence[str], model: nn.Module, fitted: Plan) -> bool:
    """Whether a head has as many rows as there are labels; heads that can't be told are not doubted."""
    known = [entry for entry in fitted.targets if entry.role == "head"]
    if len(labels) in {entry.shape[0] for entry in known or fitted.targets[-2:] if entry.shape}:
        return True  # where nobody has asked for roles, the end of the list is where a head usually is
    try:
        sizes = {site.classes for site in examine(model).heads}
    except AnatomyError:
        return True
    return not sizes or len(labels) in sizes


def _known_labels(
    source_labels: tuple[str, ...] | None, published: PublishedWeights | None, checkpoint: Checkpoint | None
) -> tuple[str, ...] | None:
    """As the user says them, else as the library does, else as the file does."""
    if source_labels is not None or checkpoint is None:
        return source_labels
    if published is not None and published.labels is not None:
        return published.labels
    return labels_of(checkpoint)


def _usual_preprocessing(
    source: Source, inner: str, published: PublishedWeights | None
) -> Preprocessing | None:
    if published is not None and published.preprocessing is not None:
        return published.preprocessing
    return source.preprocessing(inner)
