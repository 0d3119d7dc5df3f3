"""A model that transforms its input itself, with what is done outside, must do what it did."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import torchgraft as tg
from torchgraft import AdaptError, Preprocessing, adapt, describe, info_of


def googlenet(*, transform_input: bool = True) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.googlenet(
        weights=None, init_weights=False, transform_input=transform_input, num_classes=5
    )
    return model.eval()


def fed(model: nn.Module, image: torch.Tensor, by: Preprocessing) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (by.mean, by.std))
    with torch.no_grad():
        scores: torch.Tensor = model((image - mean) / std)
    return scores


@pytest.mark.parametrize("channels", [1, 4])
def test_googlenets_own_transform(channels):
    gray = torch.rand(2, 1, 64, 64)
    colour = torch.rand(2, 3, 64, 64) if channels == 4 else gray.expand(-1, 3, -1, -1)
    model = describe(googlenet(), preprocessing=Preprocessing())
    before = fed(model, colour, Preprocessing())
    adapt(model, in_channels=channels, in_mode="zeros" if channels == 4 else "sum")
    after = info_of(model).preprocessing
    assert (after.mean, after.std) == (pytest.approx([0.5] * channels), pytest.approx([0.5] * channels))
    assert model.transform_input is False
    image = torch.cat([colour, gray], 1) if channels == 4 else gray
    assert torch.allclose(fed(model, image, after), before, atol=1e-5)


def test_what_is_not_known_is_refused():
    model = googlenet()
    with pytest.raises(AdaptError, match=r"(?s)transform_input takes just 3 channels.*mean and std of 0\.5"):
        adapt(model, in_channels=4)
    assert model.transform_input is True
    assert model.conv1.conv.in_channels == 3
    adapt(model, num_classes=2)  # which has nothing to do with it


def test_the_way_out_that_the_refusal_names():
    """To switch it off and normalise by 0.5 is the same."""
    image = torch.rand(2, 3, 64, 64)
    half = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    with_own, without = googlenet(), googlenet(transform_input=False)
    assert torch.allclose(fed(with_own, image, Preprocessing()), fed(without, image, half), atol=1e-5)


def test_a_saved_one_is_built_again(tmp_path):
    model = tg.create_model("torchvision/googlenet", transform_input=True, in_channels=4, num_classes=3)
    tg.save(model, tmp_path / "out")
    again = tg.load(tmp_path / "out")
    assert again.transform_input is False
    assert info_of(again).preprocessing == info_of(model).preprocessing
    image = torch.rand(1, 4, 64, 64)
    assert torch.equal(again(image), model(image))


class Normalising(nn.Module):
    """Its statistics are a tuple, and stand beside the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.image_mean, self.image_std = (0.1, 0.2, 0.6), (1.0, 2.0, 3.0)
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = (x.new_tensor(each)[:, None, None] for each in (self.image_mean, self.image_std))
        return self.layer((x - mean) / std)


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [(1, (0.3,), (2.0,)), (5, (0.1, 0.2, 0.6, 0.3, 0.3), (1.0, 2.0, 3.0, 2.0, 2.0))],
)
def test_statistics_follow(channels, mean, std):
    model = adapt(Normalising(), in_channels=channels)
    assert (model.image_mean, model.image_std) == (pytest.approx(mean), pytest.approx(std))
    assert isinstance(model.image_mean, tuple)
    assert model(torch.rand(1, channels, 4, 4)).shape == (1, 2, 4, 4)
