"""The dtype and the device that a model is to have, given to it before it is filled."""

from __future__ import annotations

import torch
from torch import nn

from torchgraft.errors import ModelError
from torchgraft.planning.checking import check_device

__all__ = ["placed"]


def placed(
    model: nn.Module, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> nn.Module:
    """The model with floating-point tensors of this dtype, on this device, as `model.to` does it, in place.

    On the meta device it takes the dtype and stays there: the plan that fills it says where its tensors go.

    Raises:
        ModelError: The dtype is not one that a model computes in, or there is no such device.
    """
    if dtype is not None and not (dtype.is_floating_point and dtype.itemsize > 1):
        raise ModelError(
            f"a model can't be of {dtype}", hint="dtype=torch.bfloat16, torch.float16, torch.float32, float64"
        )
    check_device(device)
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        return model.to(dtype) if dtype is not None else model
    return model.to(device=device, dtype=dtype)
