import pytest
import torch
from torch import nn

from torchgraft.finetuning.runs.saliency import saliency


class Corner(nn.Module):
    """Its greatest output comes from one part of the image; batch normalisation would notice the mode."""

    def __init__(self, rows: slice, columns: slice) -> None:
        super().__init__()
        self.place = rows, columns
        self.norm = nn.BatchNorm2d(3)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        x = self.norm(x)[:, :, self.place[0], self.place[1]] * self.scale
        score = (x**2).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(0, 16), slice(0, 16)), (slice(40, 64), slice(8, 24)), (slice(20, 44), slice(48, 64))],
)
def test_the_light_is_where_the_answer_comes_from(rows, columns):
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) + 0.5
    model = Corner(rows, columns).train()
    light = saliency(model, image)
    assert light.shape == (64, 64)
    assert light.min() >= 0
    assert light.max() == 1
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[rows, columns] = True
    assert light[inside].mean() > 0.5
    far = torch.nn.functional.max_pool2d(inside[None].float(), 17, 1, 8)[0] == 0
    assert light[far].max() == 0


def test_the_model_is_left_as_it_was():
    model = Corner(slice(0, 8), slice(0, 8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first = saliency(model, torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.norm.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = saliency(model, torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(first, again)


def test_also_inside_no_grad_and_for_frozen_models():
    model = Corner(slice(0, 8), slice(0, 8)).requires_grad_(False)
    with torch.no_grad():
        assert saliency(model, torch.rand(3, 16, 16)) is not None
        assert not torch.is_grad_enabled()


class Deaf(nn.Module):
    def forward(self, x):
        return torch.ones(len(x), 2) if x.shape[1] == 1 else x.detach().flatten(1)[:, :2]


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_where_no_gradient_reaches_the_image(channels):
    assert saliency(Deaf(), torch.rand(channels, 8, 8)) is None


def test_nothing_where_all_is_the_same():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        model[1].weight.fill_(1)
    assert saliency(model, torch.zeros(1, 8, 8)) is None
