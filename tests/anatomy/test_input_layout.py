"""Stems that see each channel of the image several times, in every order, by what they compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchgraft import adapt, examine, info_of
from torchgraft.adapting import InputLayout

SIDE = 8


class Patches(nn.Module):
    """Flattens the patches of an image for a `Linear`, in the order of axes (channel, row, column) given."""

    def __init__(self, order=(0, 1, 2), channels=3, patch=2, last=False, like=None):
        super().__init__()
        self.order, self.patch, self.last = order, patch, last
        self.in_chans = channels
        self.stem = nn.Linear(channels * patch * patch, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = x.permute(0, 3, 1, 2) if self.last else x
        n, c, h, w = x.shape
        p = self.patch
        x = (2 * x - 1).reshape(n, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5)
        x = x.permute(0, 1, 2, *(3 + axis for axis in self.order)).flatten(3)
        return self.head(self.stem(x).mean((1, 2)).relu())


class Depth(nn.Module):
    """A space-to-depth stem: the pixels of a block side by side, with their channels together or not."""

    def __init__(self, together, channels=3):
        super().__init__()
        self.together = together
        self.stem = nn.Conv2d(channels * 4, 5, 3, padding=1)

    def forward(self, x):
        x = nn.functional.pixel_unshuffle(x, 2)
        if not self.together:
            x = x.unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2)
        return self.stem(x).mean((2, 3))


def image(channels=3):
    return torch.rand(1, channels, SIDE, SIDE)


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        (Patches((0, 1, 2)), InputLayout(1, 3, 4, together=True)),
        (Patches((1, 2, 0)), InputLayout(1, 3, 4, together=False)),
        (Patches((2, 1, 0)), InputLayout(1, 3, 4, together=False)),
        (Patches((0, 2, 1), channels=1), InputLayout(1, 1, 4, together=True)),
        (Patches((1, 2, 0), channels=1), InputLayout(1, 1, 4, together=False)),
        (Patches((1, 0, 2)), None),
        (Depth(together=True), InputLayout(1, 3, 4, together=True)),
        (Depth(together=False), InputLayout(1, 3, 4, together=False)),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)),
            InputLayout(1, 3, SIDE * SIDE, together=True),
        ),
        (nn.Sequential(nn.Conv2d(3, 2, 3)), None),
        # as wide as a patch has values
        (Patches((0, 1, 2), channels=2), InputLayout(1, 2, 4, together=True)),
    ],
)
def test_is_read_off_a_run(model, layout):
    channels = 3 if layout is None else layout.channels
    assert [site.layout for site in examine(model, example=image(channels)).stems] == [layout]
    empty = model.to("meta")
    assert [site.layout for site in examine(empty, example=image(channels).to("meta")).stems] == [layout]


def test_channels_may_come_last():
    model = Patches((1, 2, 0), last=True)
    assert examine(model, example=torch.rand(1, SIDE, SIDE, 3)).stems[0].layout == InputLayout(
        3, 3, 4, together=False
    )
    adapt(model, in_channels=5, example=torch.rand(1, SIDE, SIDE, 3))
    assert model(torch.rand(2, SIDE, SIDE, 5)).shape == (2, 2)


@pytest.mark.parametrize(
    "make",
    [lambda: Patches((0, 1, 2)), lambda: Patches((1, 2, 0)), lambda: Depth(True), lambda: Depth(False)],
)
@pytest.mark.parametrize("channels", [1, 4, 6])
def test_equal_channels_give_what_they_gave(make, channels):
    """The sum over the channels of each pixel stays."""
    model = make().double().eval()
    grey = torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64)
    before = model(grey.expand(-1, 3, -1, -1))
    adapt(model, in_channels=channels, in_mode="mean", example=image().double())
    torch.testing.assert_close(model(grey.expand(-1, channels, -1, -1)), before)


@pytest.mark.parametrize("make", [lambda: Patches((2, 1, 0)), lambda: Depth(True), lambda: Depth(False)])
def test_zeros_keep_every_output(make):
    model = make().double().eval()
    x = torch.rand(2, 4, SIDE, SIDE, dtype=torch.float64)
    before = model(x[:, :3])
    adapt(model, in_channels=4, in_mode="zeros", example=image().double())
    torch.testing.assert_close(model(x), before)


def test_a_linear_patch_stem_is_the_convolution_that_it_stands_for():
    model = Patches((0, 1, 2))
    conv = nn.Sequential(nn.Conv2d(3, 5, 2, stride=2))
    with torch.no_grad():
        conv[0].weight.copy_(model.stem.weight.reshape(5, 3, 2, 2))
    adapt(model, in_channels=4, example=image())
    adapt(conv, in_channels=4, example=image())
    assert torch.equal(model.stem.weight.reshape(5, 4, 2, 2), conv[0].weight)
    assert (model.stem.in_features, model.in_chans) == (16, 4)


def test_replays_with_its_stem_named():
    model, twin = Patches((1, 2, 0)), Patches((1, 2, 0))
    twin.load_state_dict(model.state_dict())
    adapt(model, in_channels=4, example=image())
    (step,) = info_of(model).surgery
    adapt(twin, **step, example=image())
    assert torch.equal(twin.stem.weight, model.stem.weight)
    assert twin.in_chans == 4
