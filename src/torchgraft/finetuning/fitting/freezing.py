"""What stays as it is: parameters without gradients, parts in evaluation mode, batch normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["frozen_batch_norms", "modes", "only_trained"]


def frozen_batch_norms(model: nn.Module, freeze: bool | None) -> list[nn.Module]:
    """The batch normalisations that `Fitting.freeze_bn` means: all, none, or those that have learned."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if freeze is None:
        return [norm for norm in norms if _has_learned(norm)]
    return list(norms) if freeze else []


@contextmanager
def only_trained(model: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, these alone require a gradient, so that none is computed or stored for the others."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    trained = set(parameters)
    try:
        for parameter, _ in before:
            parameter.requires_grad_(parameter in trained)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


def modes(
    model: nn.Module, trained: Iterable[nn.Parameter], frozen: Iterable[nn.Module] = ()
) -> Callable[[object], None]:
    """What puts each module into its mode: training for what learns, evaluation for the rest.

    A module that holds no parameter that learns is in evaluation mode; one without any parameters, such as
    dropout, is in the mode of the module that it is in. It is found out now, since a model that is sharded
    later has other parameters, though the same modules.

    Args:
        model: As a whole; it is in training mode if anything learns.
        trained: What learns.
        frozen: In evaluation mode whatever they hold.
    """
    learning = set(trained)
    chosen: dict[nn.Module, bool] = {}

    def visit(module: nn.Module, inherited: bool) -> None:
        parameters = list(module.parameters())
        mode = any(p in learning for p in parameters) if parameters else inherited
        chosen[module] = chosen.get(module, False) or mode
        for child in module.children():
            visit(child, mode)

    visit(model, bool(learning))
    chosen.update((inner, False) for module in frozen for inner in module.modules())

    def set_modes(_model: object) -> None:
        for module, mode in chosen.items():
            module.training = mode

    return set_modes


def _has_learned(norm: _BatchNorm) -> bool:
    """Whether its running statistics are other than those it starts with."""
    mean, var = norm.running_mean, norm.running_var
    return mean is not None and var is not None and bool((mean != 0).any() or (var != 1).any())
