"""Parameters become one again where the names, and the shapes, allow it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from torchgraft.zoo.tying import tie


def pair(rows: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, rows)))


def test_one_parameter_under_two_names() -> None:
    model = pair()
    tie(model, {"1.0.weight": "0.weight"})
    assert model[1][0].weight is model[0].weight
    assert model[1][0].bias is not model[0].bias
    assert len(list(model.parameters())) == 3


@pytest.mark.parametrize(
    "tied",
    [{}, {"absent": "0.weight"}, {"0.weight": "absent"}, {"0.weight": "0.weight"}, {"0.weight": "0.bias"}],
)
def test_what_there_is_nothing_to_tie_of(tied: dict[str, str]) -> None:
    model = pair()
    tie(model, tied)
    assert len({id(p) for p in model.parameters()}) == 4


def test_other_shapes_stay() -> None:
    model = pair(rows=5)
    tie(model, {"1.0.weight": "0.weight"})
    assert model[1][0].weight.shape == (5, 3)


def test_of_parametrised_layers() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 3))
    name = "0.parametrizations.weight.original1"
    tie(model, {"1.weight": name})
    assert model[1].weight is dict(model.named_parameters(remove_duplicate=False))[name]
    assert torch.isfinite(model(torch.ones(1, 3))).all()
