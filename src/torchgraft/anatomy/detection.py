"""Detectors, whose outputs can't tell what made them: boxes are chosen on the way, and nothing runs on meta.

So not the whole model is run, but its pieces, one after the other: what prepares the images, the backbone,
and the layers that give classes. A model counts as a detector by its attributes, which are torchvision's and
those of models built from its parts:

- `transform`, with `image_mean` and `image_std`, and `backbone`;
- two stages: `roi_heads.box_predictor`, which gives a score and four box coordinates for each class, and
  `roi_heads.mask_predictor`, if there is one, which gives each class a mask;
- one stage: `head.classification_head`, which gives `(images, places, classes)`. Each of its last layers has
  a row for every class of every anchor, anchor by anchor.

A score for something else than classes (objectness, centerness, keypoints) and boxes that all classes
share are no head's: their size does not depend on the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from torchgraft.adapting import ClassMap, RowBlocks
from torchgraft.anatomy.meta_twin import meta_twin
from torchgraft.anatomy.sites import Anatomy, Site, matrix_layers, site_at
from torchgraft.anatomy.tracing import Trace, run
from torchgraft.errors import AdaptError, AnatomyError

__all__ = ["Detector", "check_background", "detector_in", "row_blocks", "with_blocks"]

_BACKGROUND = ("background", "bg")

_SIDE = 320
_BOX = 4
_POOLED = 14


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector in a model.

    Attributes:
        path: Its module path; `""` if it is the model.
        module: The detector itself.
    """

    path: str
    module: nn.Module

    @property
    def backbone(self) -> nn.Module:
        """What makes features of the images, an ordinary model of images."""
        return self.module.get_submodule("backbone")

    def within(self, name: str) -> str:
        """The model's name of what its backbone calls so."""
        return ".".join(filter(None, (self.path, "backbone", name)))

    def images(self, example: object = None) -> list[torch.Tensor]:
        """Its input without values: one image, as large as the example's, with the channels it normalises."""
        while isinstance(example, list | tuple) and example:
            example = example[0]
        sides = tuple(example.shape[-2:]) if isinstance(example, torch.Tensor) else (_SIDE, _SIDE)
        channels = len(self.module.get_submodule("transform").image_mean)  # type: ignore[arg-type]
        return [torch.rand(channels, *sides, device="meta")]

    @property
    def has_background(self) -> bool:
        """Whether row 0 can't be a class: two-stage detectors and SSD, which is trained against it."""
        return hasattr(self.module, "roi_heads") or hasattr(self.module, "neg_to_pos_ratio")

    def watched(self, example: object = None) -> tuple[Trace, Anatomy]:
        """Run its pieces, on a double without values, and see where they begin and end.

        Raises:
            AnatomyError: A piece does not run as torchvision's do.
        """
        twin = meta_twin(self.module)
        pieces = _Pieces(twin)
        try:
            trace = run(pieces, (self.images(example),))
        except Exception as error:  # somebody else's pieces may raise anything
            raise AnatomyError(
                f"it looks like a detector, but its pieces don't run as one's do: {error!r}",
                where=type(self.module).__name__,
                hint='name the layers: stem="…", head="…"',
            ) from error
        return trace, Anatomy(self._stems(twin, trace), self._heads(twin, trace, pieces.outputs))

    def _stems(self, twin: nn.Module, trace: Trace) -> tuple[Site, ...]:
        return tuple(self._site(twin, path) for path in trace.stems())

    def _heads(self, twin: nn.Module, trace: Trace, outputs: Sequence[str]) -> tuple[Site, ...]:
        classes = trace.output_shapes[0][1 if outputs[0] == "scores" else -1]
        heads: list[Site] = []
        for output, calls in zip(outputs, trace.outputs, strict=True):
            for path in dict.fromkeys(trace.paths[call] for call in sorted(calls) if call >= 0):
                site = self._site(twin, path)
                if output == "places" and site.out_size % classes == 0:
                    heads.append(replace(site, blocks=RowBlocks(outer=site.out_size // classes)))
                elif output == "boxes" and site.out_size == _BOX * classes:
                    heads.append(replace(site, blocks=RowBlocks(inner=_BOX, scores=False)))
                elif site.out_size == classes:
                    heads.append(replace(site, blocks=RowBlocks(scores=output != "masks")))
        return tuple(heads)

    def _site(self, twin: nn.Module, path: str) -> Site:
        inside = path.removeprefix("detector.")
        return site_at(f"{self.path}.{inside}" if self.path else inside, twin.get_submodule(inside))


def detector_in(model: nn.Module) -> Detector | None:
    """The model, or the module in it, that is a detector."""
    found = ((path, module) for path, module in model.named_modules() if _is_detector(module))
    return next((Detector(path, module) for path, module in found), None)


def with_blocks(model: nn.Module, sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """The sites that somebody named; those that are a detector's heads with the layout of their rows."""
    blocks = row_blocks(model)
    return tuple(replace(site, blocks=blocks.get(site.path)) for site in sites)


def row_blocks(model: nn.Module) -> dict[str, RowBlocks]:
    """How the rows of a detector's heads are laid out, by path; empty for all other models."""
    detector = detector_in(model)
    if detector is None:
        return {}
    try:
        _, seen = detector.watched()
    except AnatomyError:
        return {}  # whoever has one that can't be run names its layers
    return {site.path: site.blocks for site in seen.heads if site.blocks is not None}


def check_background(
    model: nn.Module, labels: Sequence[str] | None, class_map: ClassMap | None = None
) -> None:
    """Refuse class names, or rows without names, that would make a detector's background a class.

    It would never report that class.

    Raises:
        AdaptError: The first name is not the background's, or the first row not the old background's.
    """
    rows = class_map if labels is None and not isinstance(class_map, (str, Mapping)) else None
    if labels is None and rows is None:
        return
    detector = detector_in(model)
    if detector is None or not detector.has_background:
        return
    if rows and rows[0] not in (0, None):
        raise AdaptError(
            f"row 0 of this detector is the background, and the first class comes from {rows[0]!r}",
            where=type(detector.module).__name__,
            hint="begin with the background: class_map=[0, …]",
        )
    if labels and labels[0].strip("_- ").casefold() not in _BACKGROUND:
        raise AdaptError(
            f"row 0 of this detector is the background, and the first label is {labels[0]!r}",
            where=type(detector.module).__name__,
            hint='begin with it, as torchvision does: labels=["__background__", …]',
        )


def _is_detector(module: nn.Module) -> bool:
    normalised = getattr(getattr(module, "transform", None), "image_mean", None)
    if not isinstance(normalised, list | tuple):
        return False
    if not isinstance(getattr(module, "backbone", None), nn.Module):
        return False
    return any(
        isinstance(getattr(getattr(module, part, None), inner, None), nn.Module)
        for part, inner in (("roi_heads", "box_predictor"), ("head", "classification_head"))
    )


class _Pieces(nn.Module):
    """A detector as far as it is a plain function of its layers."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.outputs = ["places"]
        if hasattr(detector, "roi_heads"):
            masks = getattr(detector.roi_heads, "mask_predictor", None) is not None
            self.outputs = ["scores", "boxes", "masks"] if masks else ["scores", "boxes"]

    def forward(self, images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        parts: Any = self.detector
        batch = parts.transform(list(images))[0]
        features = parts.backbone(batch.tensors)
        levels = list(features.values()) if isinstance(features, Mapping) else [features]
        if "places" in self.outputs:
            return [parts.head.classification_head(levels)]
        predictor, masks = parts.roi_heads.box_predictor, getattr(parts.roi_heads, "mask_predictor", None)
        scores, boxes = predictor(_features_for(predictor))
        return [scores, boxes, *([masks(_features_for(masks))] if masks is not None else [])]


def _features_for(predictor: nn.Module) -> torch.Tensor:
    """What is pooled for one region, as the predictor's first layer takes it."""
    path, layer = matrix_layers(predictor)[0]
    site = site_at(path, layer)
    sides = () if site.kind == "linear" else (_POOLED, _POOLED)
    return torch.rand(1, site.in_size, *sides, device="meta")
