"""What model and optimizer hold, by parameter name: the same on any number of processes, in parts or not."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import Optimizer

from torchgraft.finetuning.processes.sharding import in_parts_like, whole

__all__ = ["load_model_state", "load_optimizer_state", "model_state", "optimizer_state"]


def model_state(model: nn.Module, *, keep: bool) -> dict[str, torch.Tensor]:
    """The state dict, whole and on the CPU, where it is wanted; all processes call it."""
    return whole(model.state_dict(), keep=keep)


def load_model_state(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Put whole tensors into a model that may be in parts; every process has them all."""
    with torch.no_grad():
        for name, own in model.state_dict().items():
            own.copy_(in_parts_like(state[name], own))


def optimizer_state(model: nn.Module, optimizer: Optimizer, *, keep: bool) -> dict[str, torch.Tensor]:
    """`name/exp_avg` and the like, for each parameter that has any; all processes call it."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{key}"] = torch.as_tensor(value)
    return whole(tensors, keep=keep)


def load_optimizer_state(model: nn.Module, optimizer: Optimizer, state: Mapping[str, torch.Tensor]) -> None:
    """Put it back; parameters of which nothing is said have none afterwards."""
    optimizer.state.clear()
    parameters = dict(model.named_parameters())
    for path, value in state.items():
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        # PyTorch's optimizers count steps on the CPU, and keep all else where the parameter is.
        placed = value.clone() if value.ndim == 0 else in_parts_like(value.to(parameter.device), parameter)
        optimizer.state[parameter][key] = placed.clone() if placed is value else placed
