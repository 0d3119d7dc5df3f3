"""torchvision's detectors around a backbone of two layers: each runs in milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.ops import MultiScaleRoIAlign

__all__ = ["CLASSES", "DETECTORS", "LABELS", "images", "targets"]

LABELS = ["__background__", "cat", "dog", "cow", "emu"]
CLASSES = len(LABELS)
_SIDE, _WIDTH = 64, 32
_SIZES = {"min_size": _SIDE, "max_size": _SIDE}


class _Backbone(nn.Sequential):
    def __init__(self) -> None:
        layers = (
            nn.Conv2d(3, _WIDTH, 3, stride=4, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, stride=4, padding=1),
        )
        super().__init__(*layers)
        self.out_channels = _WIDTH


class _TwoLevels(_Backbone):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = super().forward(x)
        return {"0": fine, "1": nn.functional.max_pool2d(fine, 2)}


def _two_stages(**more: object) -> dict[str, object]:
    return {
        "rpn_anchor_generator": AnchorGenerator(((16, 32),), ((1.0,),)),
        "box_roi_pool": MultiScaleRoIAlign(["0"], 2, 1),
        "box_head": TwoMLPHead(_WIDTH * 4, 16),
        "box_predictor": FastRCNNPredictor(16, CLASSES),
        "box_score_thresh": 0.0,
        **_SIZES,
        **more,
    }


def _faster_rcnn() -> nn.Module:
    return FasterRCNN(_Backbone(), **_two_stages())


def _mask_rcnn() -> nn.Module:
    masks = {
        "mask_roi_pool": MultiScaleRoIAlign(["0"], 4, 1),
        "mask_head": MaskRCNNHeads(_WIDTH, (8,), 1),
        "mask_predictor": MaskRCNNPredictor(8, 8, CLASSES),
    }
    return MaskRCNN(_Backbone(), **_two_stages(**masks))


def _retinanet() -> nn.Module:
    anchors = AnchorGenerator(((16, 32),), ((0.5, 1.0),))
    return RetinaNet(_Backbone(), CLASSES, anchor_generator=anchors, score_thresh=0.0, **_SIZES)


def _fcos() -> nn.Module:
    return FCOS(
        _Backbone(),
        CLASSES,
        anchor_generator=AnchorGenerator(((16,),), ((1.0,),)),
        score_thresh=0.0,
        **_SIZES,
    )


def _ssd() -> nn.Module:
    anchors = DefaultBoxGenerator([[2], [2, 3]], scales=[0.2, 0.5, 0.9])
    head = SSDHead([_WIDTH, _WIDTH], anchors.num_anchors_per_location(), CLASSES)
    return SSD(_TwoLevels(), anchors, (_SIDE, _SIDE), CLASSES, head=head, score_thresh=0.0)


DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "faster r-cnn": _faster_rcnn,
    "mask r-cnn": _mask_rcnn,
    "retinanet": _retinanet,
    "fcos": _fcos,
    "ssd": _ssd,
}


def images(channels: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(channels, _SIDE, _SIDE, generator=generator) for _ in range(2)]


def targets(label: int) -> list[dict[str, torch.Tensor]]:
    masks = torch.zeros(1, _SIDE, _SIDE, dtype=torch.uint8)
    masks[:, 8:40, 8:48] = 1
    target = {
        "boxes": torch.tensor([[8.0, 8.0, 48.0, 40.0]]),
        "labels": torch.tensor([label]),
        "masks": masks,
    }
    return [target, target]
