"""`adapt(in_channels=)` for stems of several kinds, and by a map."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from torchgraft import AdaptError, adapt, info_of


def pooled(stem: nn.Module, dims: int = 2) -> nn.Sequential:
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dims](1)
    return nn.Sequential(stem, nn.ReLU(), pool, nn.Flatten(), nn.Linear(stem.out_channels, 5)).eval()


@pytest.mark.parametrize("stem", [nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(3, 6, 3, padding=1, groups=3)])
def test_a_grouped_stem_becomes_dense_and_keeps_its_predictions(stem):
    model, extra = pooled(stem), 2
    n = stem.in_channels
    image = torch.rand(2, n, 9, 9)
    with torch.no_grad():
        before = model(image)
        adapt(model, in_channels=n + extra, in_mode="zeros")
        after = model(torch.cat([image, torch.rand(2, extra, 9, 9)], dim=1))
    torch.testing.assert_close(after, before)
    assert (stem.groups, stem.in_channels, tuple(stem.weight.shape[:2])) == (
        1,
        n + extra,
        (stem.out_channels, n + extra),
    )
    twin = pooled(nn.Conv2d(n, stem.out_channels, 3, padding=stem.padding, groups=n // (2 if n == 4 else 1)))
    for step in json.loads(json.dumps(info_of(model).to_json()["surgery"])):
        adapt(twin, **step)
    twin.load_state_dict(model.state_dict())


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, self.weight - mean, self.bias)


def test_a_grouped_stem_that_equals_no_dense_one_is_refused():
    model = pooled(Standardised(4, 8, 3, groups=2))
    with pytest.raises(AdaptError, match="equals no dense one"):
        adapt(model, in_channels=5)
    assert model[0].groups == 2


@pytest.mark.parametrize(
    ("stem", "dims", "shape"),
    [
        (nn.Conv3d(3, 4, 3), 3, (5, 6, 6)),
        (nn.Conv1d(2, 4, 5), 1, (32,)),
        (nn.Conv2d(1, 4, 3), 2, (8, 8)),
    ],
)
@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_equal_channels_give_the_same(stem, dims, shape, mode):
    model = pooled(stem, dims)
    one = torch.rand(1, 1, *shape)
    n = stem.in_channels
    with torch.no_grad():
        before = model(one.repeat(1, n, *(1,) * dims))
        adapt(model, in_channels=n + 2, in_mode=mode, example=torch.rand(1, n, *shape))
        after = model(one.repeat(1, n + 2, *(1,) * dims))
    torch.testing.assert_close(after, before)


def test_a_map_by_name_is_remembered_as_plain_data():
    model = pooled(nn.Conv2d(3, 4, 3))
    weight = model[0].weight.detach().clone()
    adapt(model, in_channels=4, in_mode={"R": 0, "G": 1, "B": 2, "NIR": {"R": 1.0, "G": -1.0}})
    torch.testing.assert_close(model[0].weight[:, 3], weight[:, 0] - weight[:, 1])
    twin = pooled(nn.Conv2d(3, 4, 3))
    for step in json.loads(json.dumps(info_of(model).to_json()["surgery"])):
        adapt(twin, **step)
    twin.load_state_dict(model.state_dict())


class Patches(nn.Module):
    """Linear over flattened patches, channels first or last within each."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.embed = nn.Linear(3 * 16, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unfold(2, 4, 4).unfold(3, 4, 4)
        x = x.permute(0, 2, 3, 4, 5, 1) if self.last else x.permute(0, 2, 3, 1, 4, 5)
        return self.head(self.embed(x.flatten(3).flatten(1, 2)).relu().mean(1))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("mode", ["zeros", "keep-scale", [0, 1, 2, "zeros"]])
def test_linear_patches(last, mode):
    model = Patches(last=last)
    image = torch.rand(2, 3, 16, 16)
    before = model(image)
    norms = model.embed.weight.norm(dim=1)
    adapt(model, in_channels=4, in_mode=mode, example=torch.rand(1, 3, 16, 16))
    if mode == "keep-scale":
        torch.testing.assert_close(model.embed.weight.norm(dim=1), norms)
        return
    after = model(torch.cat([image, torch.rand(2, 1, 16, 16)], dim=1))
    torch.testing.assert_close(after, before)
