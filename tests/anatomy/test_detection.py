"""Detectors: what they find must follow the classes, and nothing else must change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from surgery.small_detectors import CLASSES, DETECTORS, LABELS, images, targets
from torchgraft import AdaptError, AnatomyError, adapt, describe, examine, info_of
from torchgraft.adapting import RowBlocks

EACH = pytest.mark.parametrize("kind", DETECTORS)

HEADS = {
    "faster r-cnn": {
        "roi_heads.box_predictor.cls_score": RowBlocks(),
        "roi_heads.box_predictor.bbox_pred": RowBlocks(inner=4, scores=False),
    },
    "mask r-cnn": {
        "roi_heads.box_predictor.cls_score": RowBlocks(),
        "roi_heads.box_predictor.bbox_pred": RowBlocks(inner=4, scores=False),
        "roi_heads.mask_predictor.mask_fcn_logits": RowBlocks(scores=False),
    },
    "retinanet": {"head.classification_head.cls_logits": RowBlocks(outer=4)},
    "fcos": {"head.classification_head.cls_logits": RowBlocks()},
    "ssd": {
        "head.classification_head.module_list.0": RowBlocks(outer=4),
        "head.classification_head.module_list.1": RowBlocks(outer=6),
    },
}


def make(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = DETECTORS[kind]()
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and "head" in name:
            nn.init.normal_(parameter, std=0.05)  # as they come, their scores hardly differ
    return describe(model.eval(), labels=LABELS)


def detect(model: nn.Module, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    with torch.no_grad():
        found: list[dict[str, torch.Tensor]] = model.eval()(pictures)
    return found


@EACH
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_heads(kind, device):
    found = examine(make(kind).to(device))
    assert {site.path: site.blocks for site in found.heads} == HEADS[kind]
    assert {site.classes for site in found.heads} == {CLASSES}
    assert [site.path for site in found.stems] == ["backbone.0"]


@EACH
def test_learns_and_detects_with_new_sizes(kind):
    model = adapt(make(kind), in_channels=4, num_classes=3)
    losses = model.train()(images(4), targets(2))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    for path in [*HEADS[kind], "backbone.0"]:
        assert model.get_submodule(path).weight.grad.isfinite().all()
    for each in detect(model, images(4)):
        assert len(each["boxes"]) == len(each["scores"]) == len(each["labels"]) > 0
        assert each["labels"].max() < 3
    sizes = {
        getattr(module, name)
        for module in model.modules()
        for name in ("num_classes", "num_columns")
        if hasattr(module, name)
    }
    assert sizes <= {3, 4}  # 4 are the coordinates of SSD's boxes


@EACH
def test_classes_in_another_order_find_the_same_under_other_numbers(kind):
    model = make(kind)
    order = [0, 3, 1, 4, 2]
    before = detect(model, images())
    adapt(model, labels=[LABELS[row] for row in order])
    for old, new in zip(before, detect(model, images()), strict=True):
        assert old.keys() == new.keys()
        renamed = torch.tensor(order)[new["labels"]]
        assert torch.equal(renamed, old["labels"])
        for key in old.keys() - {"labels"}:
            assert torch.allclose(new[key], old[key], atol=1e-5), key


@EACH
def test_a_further_channel_of_no_weight_changes_nothing(kind):
    """Also not through the normalisation that detectors do themselves."""
    model = make(kind)
    pictures = images(4)
    before = detect(model, [picture[:3] for picture in pictures])
    adapt(model, in_channels=4, in_mode="zeros")
    assert model.transform.image_mean == pytest.approx([0.485, 0.456, 0.406, (0.485 + 0.456 + 0.406) / 3])
    assert model.transform.image_std == pytest.approx([0.229, 0.224, 0.225, (0.229 + 0.224 + 0.225) / 3])
    for old, new in zip(before, detect(model, pictures), strict=True):
        assert all(torch.allclose(new[key], old[key], atol=1e-5) for key in old)


@pytest.mark.parametrize("kind", ["retinanet", "fcos"])
def test_new_classes_begin_as_unlikely_as_the_old_ones(kind):
    """Without the prior of focal loss, 0.01, training begins with a loss that is a hundred times as large."""
    model = adapt(DETECTORS[kind](), num_classes=3)
    bias = model.head.classification_head.cls_logits.bias
    assert torch.allclose(bias, torch.full_like(bias, -math.log(99)))


@pytest.mark.parametrize("kind", ["faster r-cnn", "mask r-cnn", "ssd"])
def test_the_background_stays_the_background(kind):
    model = make(kind)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(
        AdaptError, match="row 0 of this detector is the background, and the first label is 'dog'"
    ):
        adapt(model, labels=["dog", "cat"])
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["retinanet", "fcos"])
def test_without_a_background_row_any_label_may_be_first(kind):
    adapt(make(kind), labels=["dog", "cat"])
    adapt(make(kind), class_map=[1, 0])


def test_a_map_of_rows_begins_with_the_background_too():
    with pytest.raises(AdaptError, match="and the first class comes from 2"):
        adapt(make("ssd"), class_map=[2, 1])
    model = adapt(make("ssd"), class_map=[0, [2, 1]])
    assert info_of(model).surgery[0]["num_classes"] == 2


class Wrapped(nn.Module):
    """A training framework's module around a detector."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: list[torch.Tensor]) -> object:
        return self.net(pictures)


@EACH
def test_inside_another_module(kind):
    model = adapt(Wrapped(make(kind)), in_channels=1, num_classes=3)
    (step,) = info_of(model).surgery
    assert step["head"] == [f"net.{path}" for path in HEADS[kind]]
    assert detect(model, images(1))
    again = adapt(Wrapped(make(kind)), **step)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_boxes_that_all_classes_share_are_no_head():
    model = DETECTORS["faster r-cnn"]()
    model.roi_heads.box_predictor.bbox_pred = nn.Linear(16, 4)
    assert [site.path for site in examine(model).heads] == ["roi_heads.box_predictor.cls_score"]


class Broken(nn.Module):
    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("mine")


def test_pieces_that_do_not_run_are_named_by_the_user():
    model = make("retinanet")
    model.backbone = Broken()
    with pytest.raises(
        AnatomyError, match=r"(?s)pieces don't run as one's do: ZeroDivisionError.*head="
    ) as caught:
        adapt(model, in_channels=4)
    assert caught.value.where == "RetinaNet"
    adapt(model, in_channels=4, stem="backbone.conv")
    assert model.backbone.conv.in_channels == 4


@EACH
def test_the_examples_size_counts(kind):
    model = make(kind)
    seen: list[tuple[int, ...]] = []
    model.transform.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0][0].shape)))
    adapt(model, in_channels=4, example=[torch.rand(3, 50, 70)])
    assert seen == [(3, 50, 70), (4, 50, 70)]
    adapt(model, num_classes=2)
    assert seen[2:] == [(4, 320, 320)] * 2
