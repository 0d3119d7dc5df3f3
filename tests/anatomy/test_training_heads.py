"""Heads that run in training mode alone get their classes too, and looking for them leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchgraft import adapt, examine


class Deep(nn.Module):
    """An auxiliary in training; a layer of its size that gives no output; one that is never called."""

    def __init__(self, *, smallest: int = 1, fails: bool = False) -> None:
        super().__init__()
        self.smallest, self.fails = smallest, fails
        self.stem = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Linear(6, 7)
        self.aux = nn.Linear(7, 7)
        self.unused = nn.Linear(6, 7)
        self.head = nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        features = self.norm(self.stem(x)).mean((2, 3))
        if not self.training:
            return self.head(features)
        if self.fails:
            raise RuntimeError("targets should not be none")
        if x.shape[-1] < self.smallest:
            raise ValueError("too small for the auxiliary")
        return self.head(features), self.aux(self.inner(features).relu())


@pytest.mark.parametrize(
    ("arguments", "heads"),
    [({}, ["head", "aux"]), ({"smallest": 300}, ["head", "aux"]), ({"fails": True}, ["head"])],
)
def test_found(arguments, heads):
    model = Deep(**arguments)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    assert [site.path for site in examine(model).heads] == heads
    assert model.training
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())


def test_all_give_the_new_classes():
    model = adapt(Deep(), num_classes=4)
    assert [output.shape for output in model(torch.rand(2, 3, 8, 8))] == [(2, 4), (2, 4)]
    assert model.eval()(torch.rand(2, 3, 8, 8)).shape == (2, 4)
    assert (model.inner.out_features, model.unused.out_features) == (7, 7)


def test_another_size_is_something_else():
    model = Deep()
    model.aux = nn.Linear(7, 3)
    assert [site.path for site in examine(model).heads] == ["head"]


def test_no_run_in_training_mode_without_need():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    modes: list[bool] = []
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    examine(model)
    assert modes == [False]
