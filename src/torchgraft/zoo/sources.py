"""Where models come from: one small class a library. Another one is a class and a line in `_SOURCES`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from torch import nn

from torchgraft.errors import UnknownModelError
from torchgraft.model_info import Preprocessing

__all__ = ["Published", "Source", "find_source", "nearest"]


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that a library publishes for a model.

    Attributes:
        name: What the library calls them.
        url: Where the file is, if it is a plain URL.
        hub: The Hugging Face repository and the file in it, if it is there.
        preprocessing: What they were trained with.
        labels: The class names, if the library ships them.
        builder_args: Arguments with which the library's builder is called for these weights.
    """

    name: str
    url: str | None = None
    hub: tuple[str, str] | None = None
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    builder_args: Mapping[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """A library of models."""

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """The model with its own initialisation. Raises `UnknownModelError`, `ModelError`."""
        ...

    def preprocessing(self, name: str) -> Preprocessing | None:
        """What its usual weights expect, if the library says."""
        ...

    def published(self, name: str, weights: str) -> Published:
        """The published weights: `"DEFAULT"` or the library's name of them. Raises `ModelError`."""
        ...


_SOURCES = {
    "torchvision": "torchgraft.zoo.from_torchvision:TorchvisionSource",
    "timm": "torchgraft.zoo.from_timm:TimmSource",
}


def find_source(name: str) -> tuple[Source, str]:
    """The source that a full name such as `"timm/resnet18"` belongs to, and the name within it.

    Raises:
        UnknownModelError: The name has no source that we know.
    """
    prefix, slash, inner = name.partition("/")
    if slash and prefix in _SOURCES:
        module, _, attribute = _SOURCES[prefix].partition(":")
        source: Source = getattr(import_module(module), attribute)()
        return source, inner
    if ":" in name:
        from torchgraft.zoo.from_callable import CallableSource

        return CallableSource(), name
    inner = name.rpartition("/")[2] or "model"
    near = difflib.get_close_matches(prefix, _SOURCES) if slash else []
    raise UnknownModelError(
        "names no library that builds models",
        where=name,
        hint="write "
        + ", ".join(f'"{known}/{inner}"' for known in near or _SOURCES)
        + ("" if near else ' or "your_module:function"'),
    )


def nearest(name: str, known: Sequence[str], *, prefix: str) -> UnknownModelError:
    """The error for a name that a source does not have, with the names most like it."""
    squeezed = {candidate.replace("_", "").lower(): candidate for candidate in known}
    close = [squeezed[key] for key in difflib.get_close_matches(name.replace("_", "").lower(), squeezed, n=4)]
    hint = "did you mean " + ", ".join(f'"{prefix}/{match}"' for match in close) + "?" if close else None
    return UnknownModelError(f"{prefix} has no model of that name", where=f"{prefix}/{name}", hint=hint)
