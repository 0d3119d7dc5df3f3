"""Large models are examined without values, and found to be what they are with them."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

import torchgraft as tg
from torchgraft.anatomy import examine, tracing


class Choosy(nn.Module):
    """Its way depends on a value, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.ran: list[str] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.ran.append(image.device.type)
        features = self.stem(image).mean((2, 3))
        return self.head(features if bool(features.sum() > 0) else -features)


@pytest.fixture
def every_model_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_LARGE", 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: torchvision.models.resnet18(),
        lambda: torchvision.models.googlenet(init_weights=False),
        lambda: torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None),
        lambda: timm.create_model("deit_tiny_distilled_patch16_224"),
        lambda: timm.create_model("test_efficientnet"),
        lambda: nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(64, 3)),
    ],
)
def test_the_same_is_found(build, monkeypatch):
    model = build().eval()
    found = examine(model)
    monkeypatch.setattr(tracing, "_LARGE", 0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert examine(model) == found
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(value.is_meta for value in model.state_dict().values())


def test_it_is_not_run_with_values(every_model_is_large):
    model = torchvision.models.resnet18().eval()
    seen: list[bool] = []
    model.fc.register_forward_pre_hook(lambda _, args: seen.append(args[0].is_meta))
    tg.adapt(model, in_channels=4, num_classes=3)
    assert seen == [True, True]
    assert model(torch.rand(1, 4, 64, 64)).shape == (1, 3)


def test_where_values_are_asked_for_it_is_run_with_them(every_model_is_large):
    model = Choosy()
    found = examine(model)
    assert [site.path for site in found.stems + found.heads] == ["stem", "head"]
    assert model.ran == ["cpu"]  # its double ran first


@pytest.mark.parametrize("affine", [True, False])
def test_norms_without_values_keep_shapes_and_what_depends_on_them(affine):
    with torch.device("meta"):
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=affine), nn.ReLU(), nn.Conv2d(4, 5, 3)
        )
    trace = tracing.run(model, torch.rand(1, 3, 8, 8, device="meta"))
    assert (trace.stems(), trace.heads(), trace.output_shapes) == (["0"], ["3"], [(1, 5, 4, 4)])
