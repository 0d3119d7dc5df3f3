"""Detection and segmentation by name: from a file, in other sizes, saved and loaded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import torchgraft as tg
from torchgraft import create_model, info_of
from torchgraft.zoo import find_source, weights

SMALL: dict[str, Any] = {"min_size": 64, "max_size": 96}
EACH: dict[str, dict[str, Any]] = {
    "lraspp_mobilenet_v3_large": {},
    "fasterrcnn_mobilenet_v3_large_320_fpn": SMALL,
}
MORE: dict[str, dict[str, Any]] = {
    "ssdlite320_mobilenet_v3_large": {},
    "fcn_resnet50": {"aux_loss": True},
    "deeplabv3_resnet50": {"aux_loss": True},
    "maskrcnn_resnet50_fpn": SMALL,
    "keypointrcnn_resnet50_fpn": SMALL,
    "retinanet_resnet50_fpn": SMALL,
    "fcos_resnet50_fpn": SMALL,
    "ssd300_vgg16": {},
}
EVERY = [*EACH.items(), *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE.items())]


def built(name: str, **arguments: Any) -> nn.Module:
    torch.manual_seed(1)
    model: nn.Module = torchvision.models.get_model(name, weights=None, weights_backbone=None, **arguments)
    return model


def outputs(model: nn.Module, *, detects: bool) -> list[torch.Tensor]:
    for owner in (model, getattr(model, "roi_heads", None)):
        if hasattr(owner, "score_thresh"):
            owner.score_thresh = 0.0
    picture = torch.rand(4, 64, 80, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        given = model.eval()([picture] if detects else picture[None])
    return list((given[0] if detects else given).values())


@pytest.mark.parametrize(("name", "arguments"), EVERY)
def test_from_a_file_in_other_sizes(name, arguments, tmp_path, differing):
    detects = name in torchvision.models.list_models(torchvision.models.detection)
    first = built(name, num_classes=8, **arguments)
    torch.save(first.state_dict(), tmp_path / "eight.pth")
    model = create_model(
        f"torchvision/{name}", weights=tmp_path / "eight.pth", in_channels=4, num_classes=21, **arguments
    )
    tg.adapt(first, in_channels=4, num_classes=21)
    heads = info_of(first).surgery[0]["head"]
    fresh = [key for key in model.state_dict() if key.startswith(tuple(f"{path}." for path in heads))]
    assert set(differing(model, first)) <= set(fresh)
    assert [model.state_dict()[key].shape for key in fresh] == [
        first.state_dict()[key].shape for key in fresh
    ]

    tg.save(model, tmp_path / "saved")
    again = tg.load(tmp_path / "saved")
    assert differing(again, model) == []
    pairs = zip(outputs(again, detects=detects), outputs(model, detects=detects), strict=True)
    assert all(len(one) and torch.equal(one, other) for one, other in pairs)


def test_labels_of_a_detector_are_carried_with_their_boxes(tmp_path):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    labels = ["__background__", "cat", "N/A", "N/A", "dog"]  # as COCO's have gaps
    old = built(name, num_classes=5).roi_heads.box_predictor
    torch.save(built(name, num_classes=5).state_dict(), tmp_path / "five.pth")
    model = create_model(
        f"torchvision/{name}",
        weights=tmp_path / "five.pth",
        source_labels=labels,
        labels=["__background__", "emu", "dog"],
    )
    new = model.roi_heads.box_predictor
    for key in ("weight", "bias"):
        scores, boxes = getattr(new.cls_score, key), getattr(new.bbox_pred, key)
        assert torch.equal(scores[[0, 2]], getattr(old.cls_score, key)[[0, 4]])
        assert torch.equal(boxes.view(3, 4, -1)[[0, 2]], getattr(old.bbox_pred, key).view(5, 4, -1)[[0, 4]])
    assert info_of(model).labels == ("__background__", "emu", "dog")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("googlenet", {"transform_input": True}), ("inception_v3", {"transform_input": True}), ("resnet18", {})],
)
def test_published_weights_say_how_their_model_is_built(name, arguments):
    """torchvision's own loaders switch `transform_input` on."""
    source, inner = find_source(f"torchvision/{name}")
    assert source.published(inner, "DEFAULT").builder_args == arguments


def test_a_published_model_computes_as_torchvisions_own(tmp_path, monkeypatch):
    own = torchvision.models.googlenet(weights=None, init_weights=False, transform_input=True).eval()
    torch.save(own.state_dict(), tmp_path / "own.pth")
    monkeypatch.setattr(weights, "fetch", lambda url: tmp_path / "own.pth")
    found = create_model("torchvision/googlenet", weights="DEFAULT")
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(found(image), own(image))
    tg.save(found, tmp_path / "saved")
    assert torch.equal(tg.load(tmp_path / "saved")(image), own(image))
