"""A model run on an input as it would be used, and left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.undisturbed import undisturbed
from torchgraft.errors import DataError
from torchgraft.verifying.outputs import tensors_of

__all__ = ["named", "outputs_of", "ready", "try_outputs"]

Runs = Callable[..., object]


def named(runs: Runs) -> str:
    """What a model or function is called in a message."""
    if isinstance(runs, nn.Module):
        return type(runs).__name__
    return getattr(runs, "__name__", None) or type(runs).__name__


@contextmanager
def ready(runs: Runs) -> Iterator[None]:
    """A module in evaluation mode, without gradients, restored afterwards; a function as it is."""
    if not isinstance(runs, nn.Module):
        with torch.no_grad():
            yield
        return
    with undisturbed(runs), torch.no_grad():
        yield


def try_outputs(runs: Runs, example: object) -> dict[str, torch.Tensor]:
    """The tensors that it returns for the example: a tensor, a tuple of arguments or a dict of keywords.

    Tensors of the example are copied, and for a module brought to its device and, where they are
    floating-point numbers, to its precision.

    Raises:
        Exception: Whatever the model raises.
    """
    arguments = _fitted(example, runs)
    if isinstance(arguments, Mapping):
        return tensors_of(runs(**arguments))
    if isinstance(arguments, tuple):
        return tensors_of(runs(*arguments))
    return tensors_of(runs(arguments))


def outputs_of(runs: Runs, example: object) -> dict[str, torch.Tensor]:
    """The same for an input that the user gave.

    Raises:
        DataError: The model does not take it.
    """
    try:
        return try_outputs(runs, example)
    except DataError:
        raise
    except Exception as error:  # somebody else's model may raise anything
        text = str(error).strip().splitlines() or [""]
        raise DataError(
            f"it does not take this input: {type(error).__name__}: {text[0][:300]}",
            where=named(runs),
            hint="inputs=… is a tensor, a tuple of arguments, a dict of keywords, or a list of such",
        ) from error


def _fitted(value: object, runs: Runs) -> Any:
    parameters = list(runs.parameters()) if isinstance(runs, nn.Module) else []
    device = parameters[0].device if parameters else None
    dtype = next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), None)

    def fit(inner: object) -> object:
        if isinstance(inner, torch.Tensor):
            moved = inner.detach().clone()
            return moved.to(device=device, dtype=dtype if moved.is_floating_point() else None)
        if isinstance(inner, Mapping):
            return {key: fit(item) for key, item in inner.items()}
        if isinstance(inner, tuple | list):
            return type(inner)(map(fit, inner)) if type(inner) in (tuple, list) else inner
        return inner

    return fit(value)
