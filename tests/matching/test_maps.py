"""Dense layers after a flattened map whose channels are last: turned or refused, never taken as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import torchgraft as tg


class Net(nn.Module):
    """As Keras would write it: two convolutions, a flattened map, two dense layers."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.hidden, self.out = nn.Linear(16 * side * side, 32), nn.Linear(32, 10)
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.one(images).relu())
        x = self.pool(self.two(x).relu())
        return self.out(self.hidden(x.flatten(1)).relu())


def channels_last(net: Net, side: int) -> dict[str, torch.Tensor]:
    """The same network's weights as Keras lays them."""
    state = net.state_dict()
    hidden = state["hidden.weight"].reshape(32, 16, side, side).permute(2, 3, 1, 0).reshape(-1, 32)
    return {
        "conv2d/kernel": state["one.weight"].permute(2, 3, 1, 0),
        "conv2d/bias": state["one.bias"],
        "conv2d_1/kernel": state["two.weight"].permute(2, 3, 1, 0),
        "conv2d_1/bias": state["two.bias"],
        "dense/kernel": hidden,
        "dense/bias": state["hidden.bias"],
        "dense_1/kernel": state["out.weight"].T,
        "dense_1/bias": state["out.bias"],
    }


@pytest.mark.parametrize("side", [2, 4, 7])
def test_a_flattened_map_is_brought_into_pytorchs_order(side: int) -> None:
    torch.manual_seed(0)
    source, target = Net(side), Net(side)
    images = torch.rand(2, 3, 4 * side, 4 * side)
    tg.graft(target, channels_last(source, side), example=images[:1])
    assert torch.equal(target.hidden.weight, source.hidden.weight)
    assert torch.equal(target(images), source(images))


def test_it_is_refused_where_the_model_cant_be_run() -> None:
    source, target = Net(5), Net(5)
    with pytest.raises(tg.AmbiguousMatchError, match=r"dense/kernel.* may follow a flattened map") as caught:
        tg.plan(target, channels_last(source, 5))  # a side of 20 is not among the guesses
    assert "example=" in (caught.value.hint or "")


def test_a_layer_elsewhere_that_gives_as_many_proves_nothing() -> None:
    """The map of 16 x 5 x 5 has 400 elements, as many as a layer has that is not before it."""
    source, target = Net(5), Net(5)
    state = channels_last(source, 5)
    for net in (source, target):
        net.aside = nn.Linear(10, 400)
    state["dense_2/kernel"], state["dense_2/bias"] = (
        source.aside.weight.detach().T,
        source.aside.bias.detach(),
    )
    with pytest.raises(tg.AmbiguousMatchError, match="may follow a flattened map"):
        tg.plan(target, state)


def test_pooled_features_are_no_map_though_the_model_cant_be_run() -> None:
    torch.manual_seed(0)
    source, target = Net(1), Net(1)
    for net in (source, target):
        del net.pool  # nothing runs any more
    tg.graft(target, channels_last(source, 1))
    assert torch.equal(target.hidden.weight, source.hidden.weight)


def test_a_dense_network_of_that_library_has_no_maps() -> None:
    torch.manual_seed(0)
    target = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    state = {
        "dense/kernel": torch.rand(16, 32),
        "dense/bias": torch.rand(32),
        "dense_1/kernel": torch.rand(32, 4),
        "dense_1/bias": torch.rand(4),
    }
    tg.graft(target, state)
    assert torch.equal(target[0].weight, state["dense/kernel"].T)
    assert np.array_equal(target[2].weight.detach().numpy(), state["dense_1/kernel"].T.numpy())
