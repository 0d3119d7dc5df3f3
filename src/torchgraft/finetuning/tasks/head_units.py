"""A head that learns standardised numbers, and gives them in the user's units when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from torchgraft.finetuning.outputs import eval_mode

if TYPE_CHECKING:
    from torchgraft.finetuning.tasks.task import Task

__all__ = ["HeadUnits", "can_fold", "fold", "in_user_units", "unfold"]


@dataclass(frozen=True, slots=True)
class HeadUnits:
    """Output `i` times `scale[i]` plus `shift[i]` is what the user calls it.

    Attributes:
        scale: Above 0.
        shift: As many.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def of_user(self, outputs: torch.Tensor) -> torch.Tensor:
        """(…, numbers) in the user's units."""
        return outputs * outputs.new_tensor(self.scale) + outputs.new_tensor(self.shift)

    def standardised(self, numbers: torch.Tensor) -> torch.Tensor:
        """The inverse."""
        return (numbers - numbers.new_tensor(self.shift)) / numbers.new_tensor(self.scale)

    @property
    def inverse(self) -> HeadUnits:
        """From the user's units."""
        back = tuple(-shift / scale for scale, shift in zip(self.scale, self.shift, strict=True))
        return HeadUnits(tuple(1 / scale for scale in self.scale), back)


def can_fold(task: Task, model: nn.Module, heads: Sequence[str], example: torch.Tensor) -> bool:
    """Whether scaling and shifting the head does just that to the model's outputs; seen by trying it."""
    if task.units is None or _linear(model, heads) is None:
        return False
    with eval_mode(model), torch.inference_mode():
        expected = task.units.of_user(task.outputs(model(example)))
        with in_user_units(task, model, heads):
            found = task.outputs(model(example))
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-5 * max(map(abs, task.units.shift)) + 1e-6)


def fold(task: Task, model: nn.Module, heads: Sequence[str]) -> None:
    """The trained head gives the user's units from now on."""
    if task.units is not None:
        _apply(task.units, _layer(model, heads))


def unfold(task: Task, model: nn.Module, heads: Sequence[str]) -> None:
    """A head that gives the user's units gives standardised numbers from now on, to be trained further."""
    if task.units is not None:
        _apply(task.units.inverse, _layer(model, heads))


@contextmanager
def in_user_units(task: Task, model: nn.Module, heads: Sequence[str]) -> Iterator[None]:
    """Inside, the head in training is as it will be in the end; afterwards, bit for bit, as it was."""
    if task.units is None:
        yield
        return
    layer = _layer(model, heads)
    before = [(parameter, parameter.detach().clone()) for parameter in layer.parameters()]
    _apply(task.units, layer)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)


def _layer(model: nn.Module, heads: Sequence[str]) -> nn.Linear | nn.Conv2d:
    layer = _linear(model, heads)
    assert layer is not None, "only a task whose units can be folded into the head has any"
    return layer


def _linear(model: nn.Module, heads: Sequence[str]) -> nn.Linear | nn.Conv2d | None:
    layer = model.get_submodule(heads[0])
    if len(heads) != 1 or not isinstance(layer, (nn.Linear, nn.Conv2d)) or layer.bias is None:
        return None
    return layer


def _apply(units: HeadUnits, layer: nn.Linear | nn.Conv2d) -> None:
    """In float64, so that a fold and its inverse lose no more than one rounding each."""
    scale = torch.tensor(units.scale, dtype=torch.float64)
    shift = torch.tensor(units.shift, dtype=torch.float64)
    weight, bias = layer.weight, layer.bias
    assert bias is not None
    with torch.no_grad():
        weight.copy_(weight.cpu().double() * scale.view(-1, *[1] * (weight.ndim - 1)))
        bias.copy_(bias.cpu().double() * scale + shift)
