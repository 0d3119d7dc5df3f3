"""The user's own models, by import path: `"package.module:function"` or `"package.module:Class"`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from torchgraft.errors import ModelError, UnknownModelError
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.published_weights import PublishedWeights

__all__ = ["CallableSource"]


class CallableSource:
    """Imports what the user names, and calls it. Only ever a name the user typed, never one from a file."""

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """What the callable returns, which must be a module."""
        build = _resolve(name)
        _check_arguments(name, build, arguments)
        model = build(**arguments)
        if not isinstance(model, nn.Module):
            raise ModelError(f"returned {type(model).__name__}, not a torch.nn.Module", where=name)
        return model

    def preprocessing(self, name: str) -> Preprocessing | None:  # noqa: ARG002 (the protocol's)
        """Unknown: the user's model does not say."""
        return None

    def published(self, name: str, weights: str) -> PublishedWeights:
        """There are none."""
        raise ModelError(
            f"a model of your own has no published weights {weights!r}",
            where=name,
            hint="give a file: weights='path/to/checkpoint.pth'",
        )


def _check_arguments(name: str, build: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that the callable does not take; what it raises itself passes as it is."""
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):
        return  # some built-ins have none
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ModelError(f"can't be built: {error}", where=name, hint=f"it takes {signature}") from error


def _resolve(name: str) -> Any:
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise UnknownModelError(
            "is not an import path", where=name, hint='write "package.module:function", without .py'
        )
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise UnknownModelError(
            f"can't import {module_name!r}: {error}", where=name, hint="run from its folder, or install it"
        ) from error
    reached = module_name
    for part in path.split("."):
        if not hasattr(found, part):
            inside = getattr(found, "__dict__", {})
            known = [word for word in inside if not word.startswith("_") and callable(inside[word])]
            raise UnknownModelError(
                f"{reached!r} has no {part!r}",
                where=name,
                hint=f"it has {', '.join(known[:8]) or 'nothing'}",
            )
        found, reached = getattr(found, part), f"{reached}.{part}"
    if not callable(found):
        raise UnknownModelError(
            "is not callable", where=name, hint="name a function or a class that gives a model"
        )
    return found
