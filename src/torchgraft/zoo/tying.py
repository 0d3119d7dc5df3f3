"""Parameters that were one in the model that was saved are made one again."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

__all__ = ["tie"]


def tie(model: nn.Module, tied: Mapping[str, str]) -> None:
    """Let each name stand for the same parameter as the other one does, where the model has both.

    Args:
        model: Most builders tie their own; this is for what the user tied afterwards.
        tied: Names, each with the name of the parameter that it stood for. Their shapes must be equal.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, kept in tied.items():
        one, other = parameters.get(kept), parameters.get(name)
        if one is None or other is None or one is other or one.shape != other.shape:
            continue
        module, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(module), leaf, one)
        parameters[name] = one
