"""Values before and after a graft, drawn without grafting."""

import numpy as np
import torch
from torch import nn

import torchgraft as tg
from torchgraft.planning.histograms import histograms


class Net(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


def test_they_are_numpys_and_the_model_stays_as_it_was():
    torch.manual_seed(0)
    source, model = Net(3, 5).state_dict(), Net(4, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan = tg.plan(model, source, allow_fresh="head")
    found = histograms(plan)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert set(found) == {"conv.weight", "conv.bias"}
    grafted = plan.apply().model.state_dict()
    for name, pair in found.items():
        for tensor, drawn in zip((source[name], grafted[name]), pair, strict=True):
            x = tensor.double().numpy()
            expected, _ = np.histogram(x, len(drawn.counts), (drawn.low, drawn.high))
            assert np.abs(np.cumsum(expected) - np.cumsum(drawn.counts)).max() <= 1
        assert pair[0].low == pair[1].low == min(float(source[name].min()), float(grafted[name].min()))


def test_no_more_is_read_than_may_be_and_changed_ones_come_first():
    source = Net(3, 5).state_dict()
    plan = tg.plan(Net(4, 5), source)
    assert set(histograms(plan, most=source["conv.weight"].nbytes)) == {"conv.weight"}
    assert histograms(plan, most=0) == {}


def test_a_plan_that_is_bound_to_nothing_has_none():
    plan = tg.plan(Net(3, 5), Net(3, 5).state_dict())
    assert histograms(tg.Plan.from_json(plan.to_json())) == {}


def test_a_model_without_memory():
    with torch.device("meta"):
        model = Net(3, 5)
    assert set(histograms(tg.plan(model, Net(3, 5).state_dict()))) == set(model.state_dict())


def test_values_that_are_not_finite():
    source = Net(3, 5).state_dict()
    source["conv.bias"].fill_(torch.nan)
    source["fc.bias"][0] = torch.inf
    found = histograms(tg.plan(Net(3, 5), source))
    assert "conv.bias" not in found
    assert sum(found["fc.bias"][0].counts) == 4
