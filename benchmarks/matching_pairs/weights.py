"""Random weights in which every tensor tells, and signals that neither vanish nor explode."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from matching_pairs.pairs import Side, State

__all__ = ["call", "fill", "write"]


def call(side: Side, model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """The tensor to compare, in float32."""
    arguments = side.feed(inputs)
    result = model(**arguments) if isinstance(arguments, dict) else model(*arguments)
    result = side.pick(result) if side.pick is not None else _first(result)
    return result.float()


@torch.no_grad()
def write(model: nn.Module, values: State) -> None:
    """Copy these into the model, in place; some models' own `load_state_dict` wants more than values."""
    for name, tensor in model.state_dict().items():
        if name in values:
            tensor.copy_(values[name])


def _first(result: object) -> torch.Tensor:
    for name in ("logits", "last_hidden_state"):
        if getattr(result, name, None) is not None:
            return getattr(result, name)
    while not isinstance(result, torch.Tensor):
        result = next(iter(result.values())) if isinstance(result, dict) else result[0]
    return result


@torch.no_grad()
def fill(side: Side, model: nn.Module, inputs: torch.Tensor | None, seed: int) -> None:
    """Give each tensor values of its own; with inputs, BatchNorms get the statistics that reach them."""
    if side.fill is not None:
        side.fill(model, inputs, seed)
        return
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    seen: set[int] = set()
    for module in model.modules():
        kind = type(module).__name__.lower()
        normalises = "norm" in kind or kind in ("frozenbatchnorm2d",)
        table = isinstance(module, nn.Embedding)
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            buffer = not isinstance(tensor, nn.Parameter)
            if buffer and name not in ("running_mean", "running_var", "num_batches_tracked"):
                continue
            _fill(tensor, name, normalises, table, generator)
    if side.settle is not None:
        side.settle(model)
    if inputs is not None:
        _calibrate(side, model, inputs, generator)


def _fill(tensor: torch.Tensor, name: str, normalises: bool, table: bool, generator: torch.Generator) -> None:
    def normal() -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(tensor.shape, generator=generator) * (high - low) + low

    if name == "num_batches_tracked":
        tensor.copy_(torch.randint(1, 10**6, (), generator=generator))
    elif name == "running_var":
        tensor.copy_(uniform(0.5, 1.5))
    elif name == "running_mean":
        tensor.copy_(0.2 * normal())
    elif "bias" in name and tensor.ndim == 1:
        tensor.copy_(0.1 * normal())
    elif tensor.ndim <= 1:  # a norm's scale, LayerScale, a class token
        tensor.copy_(uniform(0.7, 1.3) if normalises else uniform(0.4, 1.0))
    elif table or tensor.ndim == 3 or any(word in name for word in ("pos", "token", "table", "class")):
        tensor.copy_(0.5 * normal())
    elif tensor.squeeze().ndim <= 1:
        tensor.copy_(uniform(0.4, 1.0))
    else:
        tensor.copy_(normal() * math.sqrt(1.6 / (tensor.numel() / tensor.shape[0])))


def _calibrate(side: Side, model: nn.Module, inputs: torch.Tensor, generator: torch.Generator) -> None:
    def observe(norm: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        x = arguments[0].float()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        jitter = torch.rand(2, x.shape[1], generator=generator)
        spread = x.var(axes, correction=0) + 1e-2
        norm.running_mean.copy_(x.mean(axes) + (jitter[0] - 0.5) * 0.4 * spread.sqrt())
        norm.running_var.copy_(spread * (0.7 + 0.6 * jitter[1]))

    hooks = [
        module.register_forward_pre_hook(observe)
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    call(side, model, inputs)
    for hook in hooks:
        hook.remove()
