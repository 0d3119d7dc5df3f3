"""Batch normalisation over the whole batch, though each process has a part of it.

PyTorch's `SyncBatchNorm` does so on GPUs only and takes the place of modules, which loses what subclasses add
(timm's have an activation). Here the function that they all call is answered instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

__all__ = ["learns_statistics", "over_all_processes"]


def learns_statistics(model: nn.Module) -> bool:
    """Whether any batch normalisation in it looks at the batch."""
    return any(isinstance(module, _BatchNorm) and module.training for module in model.modules())


@contextmanager
def over_all_processes(rows: int | None = None) -> Iterator[None]:
    """Inside, `torch.nn.functional.batch_norm` takes mean and variance over all processes.

    Args:
        rows: How many of this process's rows count; `None`: all.
    """
    with _Synchronised(rows):
        yield


class _Synchronised(TorchFunctionMode):
    def __init__(self, rows: int | None) -> None:
        super().__init__()
        self._rows = rows

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            return _batch_norm(self._rows, *args, **kwargs)
        return func(*args, **kwargs)


def _batch_norm(
    rows: int | None,
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """As `torch.nn.functional.batch_norm`, in float32 at least."""
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    counted = wide if rows is None else wide[:rows]
    dims = [0, *range(2, x.ndim)]
    size = torch.tensor([float(counted.numel() // x.shape[1])], dtype=wide.dtype, device=x.device)
    sums: torch.Tensor = _Sum.apply(torch.cat([counted.sum(dims), size]))
    count = sums[-1].detach()
    if count <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    shape = [1, -1, *[1] * (x.ndim - 2)]
    mean = sums[:-1] / count
    squares = (counted - mean.view(shape)).square().sum(dims)
    variance: torch.Tensor = _Sum.apply(squares) / count
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = variance * count / (count - 1)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    normal: torch.Tensor = (wide - mean.view(shape)) * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        normal = normal * weight.view(shape)
    if bias is not None:
        normal = normal + bias.view(shape)
    return normal.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over the processes. Each one's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
