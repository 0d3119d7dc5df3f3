"""Lets a model be run and forgets that it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["undisturbed"]


@contextmanager
def undisturbed(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """The model in evaluation or training mode, all its floating-point parameters asking for gradients.

    Afterwards, also after an error, it is what it was: attributes (mode, hooks and the like), parameters
    and their `requires_grad`, buffers and their values, and the random number generators.
    """
    attributes = [_Attributes(module) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.detach().clone(), _version(buffer)) for buffer in model.buffers()]
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    with (
        torch.random.fork_rng(devices=list(devices)),
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # what a model says about a made-up input concerns nobody
        try:
            model.train(training)
            for module in model.modules():
                if hasattr(module, "running_mean"):  # one example has no statistics worth the name
                    module.eval()
            for parameter, _ in flags:
                if parameter.is_floating_point():
                    parameter.requires_grad_(True)
            yield
        finally:
            for kept in attributes:
                kept.restore()
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            with torch.no_grad():
                for buffer, value, version in buffers:
                    if _version(buffer) != version:
                        buffer.copy_(value)


class _Attributes:
    """A module's attributes and what its registries (of parameters, buffers, hooks) held.

    The registries themselves are kept, since the handle that removes a hook refers to its registry.
    """

    def __init__(self, module: nn.Module) -> None:
        self._live = vars(module)
        self._before = dict(self._live)
        self._registries: list[tuple[dict[Any, Any], dict[Any, Any]]] = [
            (value, dict(value)) for value in self._before.values() if isinstance(value, dict)
        ]

    def restore(self) -> None:
        self._live.clear()
        self._live.update(self._before)
        for registry, held in self._registries:
            registry.clear()
            registry.update(held)


def _version(buffer: torch.Tensor) -> int:
    """Counts the buffer's changes; tensors made in inference mode can't be changed outside of it."""
    return 0 if buffer.is_inference() else buffer._version  # noqa: SLF001  # the public way to ask is none
