"""Where models come from: one small class a library. Another one is a class and a line in `_SOURCES`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from torch import nn

from torchgraft.errors import UnknownModelError
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.published_weights import PublishedWeights

__all__ = ["LIBRARIES", "Listed", "PublishedWeights", "Settled", "Source", "find_source", "nearest"]


class Source(Protocol):
    """A library of models."""

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """The model with its own initialisation. Raises `UnknownModelError`, `ModelError`."""
        ...

    def preprocessing(self, name: str) -> Preprocessing | None:
        """What its usual weights expect, if the library says."""
        ...

    def published(self, name: str, weights: str) -> PublishedWeights:
        """The published weights: `"DEFAULT"` or the library's name of them. Raises `ModelError`."""
        ...


@runtime_checkable
class Listed(Protocol):
    """A source that can say what it has."""

    def names(self, *, published: bool = False) -> Sequence[str]:
        """Its models, in its own order; only those with published weights if asked."""
        ...

    def all_weights(self, name: str) -> Sequence[PublishedWeights]:
        """All published weights of a model, the default ones first. Raises `UnknownModelError`."""
        ...


@runtime_checkable
class Settled(Protocol):
    """A source whose models are described by a file that may change, or be out of reach later."""

    def settled(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Arguments with which `build` gives the same model again without looking that file up."""
        ...


_SOURCES = {
    "torchvision": "torchgraft.zoo.from_torchvision:TorchvisionSource",
    "timm": "torchgraft.zoo.from_timm:TimmSource",
    "hf": "torchgraft.zoo.from_hub:HubSource",
}

LIBRARIES = tuple(_SOURCES)
"""The first part of names, in the order in which a bare name is looked for."""


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
    last = name.rpartition("/")[2] or "model"
    near = difflib.get_close_matches(prefix, ("torchvision", "timm")) if slash else []
    guesses = [f"{known}/{last}" for known in near or ("torchvision", "timm")]
    if not near:
        guesses.insert(*((0, f"hf/{name}") if slash and last != "model" else (2, f"hf/owner/{last}")))
    raise UnknownModelError(
        "names no library that builds models",
        where=name,
        hint="write "
        + ", ".join(f'"{guess}"' for guess in guesses)
        + ("" if near else ' or "your_module:function"'),
    )


def nearest(name: str, known: Sequence[str], *, prefix: str) -> UnknownModelError:
    """The error for a name that a source does not have, with the names most like it."""
    squeezed = {candidate.replace("_", "").lower(): candidate for candidate in known}
    close = [squeezed[key] for key in difflib.get_close_matches(name.replace("_", "").lower(), squeezed, n=4)]
    hint = "did you mean " + ", ".join(f'"{prefix}/{match}"' for match in close) + "?" if close else None
    return UnknownModelError(f"{prefix} has no model of that name", where=f"{prefix}/{name}", hint=hint)
