"""The one module that knows Hugging Face peft: low-rank adapters put into a model, and merged into it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from torchgraft.finetuning.requirements import require

__all__ = ["adaptable", "adapter_parameters", "inject", "merge", "merged"]


def adaptable(model: nn.Module) -> list[str]:
    """Paths of the layers that can have an adapter: `Linear`, and `Conv2d` of one group.

    PyTorch's own attention keeps its projections to itself: neither it nor what is in it is among them.
    Nor are subclasses, whose weights may be turned into others before they are used.
    """
    closed = [path for path, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    return [
        path
        for path, module in model.named_modules()
        if (type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1))
        and not any(path.startswith(f"{other}.") for other in closed)
    ]


def inject(model: nn.Module, paths: Sequence[str], *, rank: int, alpha: float, dropout: float) -> None:
    """Put an adapter of `rank` beside each of these layers; the model computes what it did.

    Hu et al. 2021: W x becomes W x + alpha / rank · B A x, with B zero at first.

    Raises:
        MissingDependencyError: peft is absent.
    """
    require("peft")
    from peft import LoraConfig, inject_adapter_in_model

    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        # a pattern: of a list, peft would also take layers whose paths end alike
        target_modules="|".join(re.escape(path) for path in paths),
    )
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():  # peft freezes all else
        before = flags.get(name.replace(".base_layer.", "."))
        if before is not None:
            parameter.requires_grad_(before)


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What learns of the adapters."""
    return [p for _, layer in _layers(model) for name, p in layer.named_parameters() if "lora_" in name]


@contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Inside, the model is a plain one that computes the same; afterwards bit for bit what it was."""
    layers = _layers(model)
    kept = [(p, p.detach().clone()) for _, layer in layers for p in layer.get_base_layer().parameters()]
    merge(model)
    try:
        yield
    finally:
        for path, layer in layers:
            layer.merged_adapters.clear()
            _put(model, path, layer)
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)


def merge(model: nn.Module) -> None:
    """Make the model a plain one that computes the same."""
    for path, layer in _layers(model):
        layer.merge()
        _put(model, path, layer.get_base_layer())


def _layers(model: nn.Module) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(path, module) for path, module in model.named_modules() if isinstance(module, LoraLayer)]


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
