"""The user's own models, by import path: `"package.module:function"` or `"package.module:Class"`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from torchgraft.errors import ModelError, UnknownModelError
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.sources import Published

__all__ = ["CallableSource"]


class CallableSource:
    """Imports what the user names, and calls it. Only ever a name the user typed, never one from a file."""

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """What the callable returns, which must be a module."""
        model = _resolve(name)(**arguments)
        if not isinstance(model, nn.Module):
            raise ModelError(f"returned {type(model).__name__}, not a torch.nn.Module", where=name)
        return model

    def preprocessing(self, name: str) -> Preprocessing | None:  # noqa: ARG002 (the protocol's)
        """Unknown: the user's model does not say."""
        return None

    def published(self, name: str, weights: str) -> Published:
        """There are none."""
        raise ModelError(
            f"a model of your own has no published weights {weights!r}",
            where=name,
            hint="give a file: weights='path/to/checkpoint.pth'",
        )


def _resolve(name: str) -> Any:
    module_name, _, path = name.partition(":")
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise UnknownModelError(
            f"can't import {module_name!r}: {error}", where=name, hint="run from its folder, or install it"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            known = [word for word in vars(found) if not word.startswith("_") and callable(vars(found)[word])]
            raise UnknownModelError(
                f"{module_name!r} has no {part!r}",
                where=name,
                hint=f"it has {', '.join(known[:8]) or 'nothing'}",
            )
        found = getattr(found, part)
    if not callable(found):
        raise UnknownModelError(
            "is not callable", where=name, hint="name a function or a class that gives a model"
        )
    return found
