"""On published weights and real photos: what a model still knows after its ends were changed."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from PIL import Image
from torch import nn

import torchgraft as tg
from torchgraft.demo.material import imagenet_names, imagenet_photos, lite0_weights
from torchgraft.finetuning.predicting import prepared

timm = pytest.importorskip("timm")

PHOTOS = imagenet_photos()
TRUE = [photo.label for photo in PHOTOS]
HALF = tg.Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def lite0() -> nn.Module:
    model = timm.create_model("tf_efficientnet_lite0").eval()
    tg.graft(model, lite0_weights())
    return tg.describe(model, preprocessing=HALF)


@torch.no_grad()
def scores(model: nn.Module, images: list[Image.Image]) -> torch.Tensor:
    return torch.cat([model(batch) for batch in prepared(model, images)])


@cache
def photos() -> list[Image.Image]:
    return [Image.open(photo.path).convert("RGB") for photo in PHOTOS]


def test_gray_photos_through_a_one_channel_stem_are_predicted_as_if_expanded() -> None:
    gray = [image.convert("L") for image in photos()]
    expanded = scores(lite0(), [image.convert("RGB") for image in gray])
    adapted = scores(tg.adapt(lite0(), in_channels=1), gray)
    assert torch.equal(adapted.argmax(1), expanded.argmax(1))
    torch.testing.assert_close(adapted, expanded, atol=2e-4, rtol=0)


def test_a_head_carried_over_by_label_predicts_untrained() -> None:
    names = imagenet_names()
    classes = sorted({*TRUE[:6]})
    subset = [image for image, label in zip(photos(), TRUE, strict=True) if label in classes]
    wanted = [classes.index(label) for label in TRUE if label in classes]
    unique = [f"{name} 2" if name in names[:index] else name for index, name in enumerate(names)]
    model = tg.adapt(tg.describe(lite0(), labels=unique), labels=[unique[index] for index in classes])
    found = scores(model, subset).argmax(1).tolist()
    assert sum(one == other for one, other in zip(found, wanted, strict=True)) >= len(wanted) - 1


def test_a_fourth_channel_changes_nothing_whatever_it_carries() -> None:
    before = scores(lite0(), photos())
    model = tg.adapt(lite0(), in_channels=4, in_mode="zeros")
    noise = torch.Generator().manual_seed(0)
    for batch, outputs in zip(prepared(lite0(), photos()), before.split(32), strict=True):
        fourth = torch.randn(batch[:, :1].shape, generator=noise)
        with torch.no_grad():
            assert torch.equal(model(torch.cat([batch, fourth], dim=1)), outputs)
