"""A small network with a stem, a body, a batch norm and a head; and a way to see that nothing touched it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn


class Net(nn.Module):
    """Convolution, batch norm, convolution, pooling, `Linear`."""

    def __init__(self, classes: int = 5, channels: int = 3, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 6, 1))
        self.head = nn.Linear(6, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.norm(self.stem(x))).mean(dim=(2, 3)))


@pytest.fixture
def net() -> Callable[..., nn.Module]:
    """Builds a `Net` whose every number depends on `seed`, its statistics and counter included."""

    def build(seed: int = 0, **sizes: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Net(**sizes)
            model.norm.running_mean.normal_()
            model.norm.num_batches_tracked.fill_(seed + 7)
        return model.eval()

    return build


@pytest.fixture
def snapshot() -> Callable[[nn.Module], Any]:
    """All of a model that loading could disturb: bits, identities, flags, modes. Compare with `==`."""

    def take(model: nn.Module) -> Any:
        return [
            (
                key,
                id(tensor),
                tensor.dtype,
                tensor.device,
                tensor.stride(),
                tensor.requires_grad,
                None
                if tensor.is_meta
                else tensor.detach().clone().contiguous().flatten().view(torch.uint8).tolist(),
            )
            for key, tensor in (*model.named_parameters(), *model.named_buffers())
        ] + [module.training for module in model.modules()]

    return take


@pytest.fixture
def assert_same_values() -> Callable[[nn.Module, nn.Module], None]:
    """Whether two models hold the same numbers under the same names."""

    def check(one: nn.Module, other: nn.Module) -> None:
        ours, theirs = one.state_dict(), other.state_dict()
        assert list(ours) == list(theirs)
        unlike = [key for key in ours if not torch.equal(ours[key], theirs[key])]
        assert unlike == []

    return check
