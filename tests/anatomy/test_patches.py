"""In which order a model flattens patches: each of the six is built by hand and must be read off a run."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import nn

from torchgraft.anatomy.patches import patch_orders


class ViT(nn.Module):
    """Patches flattened in a given order, a `Linear`, a head."""

    def __init__(self, order: tuple[int, int, int], side: int = 8, *, first: nn.Module | None = None) -> None:
        super().__init__()
        self.order, self.side = order, side
        self.first = first or nn.Identity()
        self.embed = nn.Linear(3 * side * side, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        s = self.side
        cells = (
            self.first(x)
            .reshape(n, c, h // s, s, w // s, s)
            .permute(0, 2, 4, *((1, 3, 5)[axis] for axis in self.order))
        )
        return self.head(self.embed(cells.reshape(n, -1, c * s * s)).mean(1))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("example", [None, torch.rand(1, 3, 32, 32)])
def test_each_order(order, example):
    assert patch_orders(ViT(order), example) == {"embed.weight": order}


def test_unfold_has_its_channels_first():
    class Unfolded(ViT):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            cells = nn.functional.unfold(x, self.side, stride=self.side).transpose(1, 2)
            return self.head(self.embed(cells).mean(1))

    assert patch_orders(Unfolded((0, 1, 2)), torch.rand(1, 3, 32, 32)) == {"embed.weight": (0, 1, 2)}


@pytest.mark.parametrize(
    "model",
    [
        ViT((0, 1, 2), first=nn.BatchNorm2d(3).eval().requires_grad_(requires_grad=False)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)),
        nn.Linear(7, 3),
        nn.Conv2d(3, 4, 3),
    ],
    ids=["something is computed before", "does not run", "no image", "no Linear"],
)
def test_nothing_is_said(model):
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(1.5)
    assert patch_orders(model, torch.rand(1, 3, 32, 32)) == {}


def test_the_meta_device_has_no_numbers():
    with torch.device("meta"):
        model = ViT((2, 1, 0))
    assert patch_orders(model) == {}


def test_the_model_is_as_it_was():
    model = ViT((1, 2, 0)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    patch_orders(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.embed._forward_pre_hooks
