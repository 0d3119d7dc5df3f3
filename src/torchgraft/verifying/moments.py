"""Mean and variance of each channel of what reaches the BatchNorms, image by image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

__all__ = ["Moments", "Sample", "batch_norms"]


def batch_norms(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers that hold a running mean and variance, one number a channel; also frozen ones of any class.

    Instance normalisation is none: what it remembers is not of batches.
    """
    for path, module in model.named_modules():
        mean, variance = (getattr(module, name, None) for name in ("running_mean", "running_var"))
        per_image = isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d)
        if (
            isinstance(mean, torch.Tensor)
            and isinstance(variance, torch.Tensor)
            and mean.ndim == 1
            and mean.shape == variance.shape
            and not per_image
        ):
            yield path, module


@dataclass(frozen=True, slots=True)
class Sample:
    """Moments of each channel over all images, float64 on the CPU, and how sure they are.

    Attributes:
        values: How many numbers of each channel were seen.
        mean: Of each channel.
        variance: Likewise, unbiased as running variances are.
        mean_error: Standard error of the mean, from how the images differ.
        variance_error: The same of the variance.
    """

    values: int
    mean: torch.Tensor
    variance: torch.Tensor
    mean_error: torch.Tensor
    variance_error: torch.Tensor


@dataclass
class Moments:
    """Of one layer's input. Register `hook` as its pre-forward hook."""

    channels: int
    _means: list[torch.Tensor] = field(default_factory=list)
    _variances: list[torch.Tensor] = field(default_factory=list)
    _places: int = 1

    def hook(self, module: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG002 (PyTorch's signature)
        """Take note of an input (batch, channels, …), or (batch, …, channels)."""
        if not args or not isinstance(args[0], torch.Tensor) or args[0].ndim < 2:
            return
        given = args[0].detach()
        axis = 1 if given.shape[1] == self.channels else given.ndim - 1
        if given.shape[axis] != self.channels or not given.numel():
            return
        rows = given.movedim(axis, 1).flatten(2) if given.ndim > 2 else given[:, :, None]
        rows = rows if rows.dtype == torch.float64 else rows.float()
        variance, mean = torch.var_mean(rows, dim=2, correction=0)
        self._means.append(mean.cpu())
        self._variances.append(variance.cpu())
        self._places = rows.shape[2]

    @property
    def images(self) -> int:
        """How many were seen."""
        return sum(map(len, self._means))

    def sample(self) -> Sample:
        """All images together; at least two of them."""
        means, variances = torch.cat(self._means).double(), torch.cat(self._variances).double()
        count, values = len(means), len(means) * self._places
        mean = means.mean(0)
        squares = variances + (means - mean) ** 2
        return Sample(
            values=values,
            mean=mean,
            variance=squares.mean(0) * (values / (values - 1)),
            mean_error=means.std(0) / count**0.5,
            variance_error=squares.std(0) / count**0.5,
        )
