"""`list_models` and `published`: which models there are, and what their libraries say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torchgraft.errors import MissingDependencyError, ModelError, TorchgraftError, UnknownModelError
from torchgraft.model_info import Preprocessing
from torchgraft.storage.cache_place import Place, torch_hub_folder
from torchgraft.zoo.hub_files import WEIGHTS, cached_hub_file
from torchgraft.zoo.near_names import resolved
from torchgraft.zoo.published_weights import PublishedWeights
from torchgraft.zoo.skeleton import skeleton
from torchgraft.zoo.sources import LIBRARIES, Listed, Settled, Source, find_source

__all__ = ["PublishedModel", "list_models", "published", "stated"]


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model that can be built by name, and its published weights.

    Attributes:
        name: The full name, such as `"torchvision/resnet50"`.
        parameters: How many numbers it has, as its builder makes it; `None` if that can't be told.
        preprocessing: What its default weights expect of an image.
        weights: All that is published, the default first; empty where nothing is.
    """

    name: str
    parameters: int | None
    preprocessing: Preprocessing | None
    weights: tuple[PublishedWeights, ...]

    def to_json(self, *, labels: bool = True) -> dict[str, Any]:
        """Plain data for a JSON file; without the class names if they are not wanted."""
        weights = [one.to_json() for one in self.weights]
        if not labels:
            weights = [{key: value for key, value in one.items() if key != "labels"} for one in weights]
        return {
            "name": self.name,
            "parameters": self.parameters,
            "preprocessing": self.preprocessing.to_json() if self.preprocessing else None,
            "weights": weights,
        }


def list_models(pattern: str = "*", *, published: bool = False) -> list[str]:
    """Full names of the models that can be built by name.

    Args:
        pattern: With `*`, `?` and `[…]`, capitals alike: `"torchvision/*"`, `"timm/*vit*"`; without a
            library, as in `"resnet*"`, it is looked for in all. Of the hub, only what is in its cache is
            listed: `"hf/*"`.
        published: Only those with published weights.

    Raises:
        MissingDependencyError: The library that the pattern names is not installed. Where it names none,
            absent libraries are left out.
        UnknownModelError: It names no library.
    """
    library, slash, rest = pattern.lower().partition("/")
    wanted = [name for name in LIBRARIES if fnmatchcase(name, library)] if slash else list(LIBRARIES)
    if not wanted:
        raise UnknownModelError(
            "is no library that has a list of models",
            where=pattern,
            hint=f"those are {', '.join(LIBRARIES)}",
        )
    names: list[str] = []
    for one in wanted:
        source, _ = find_source(f"{one}/")
        try:
            known = source.names(published=published) if isinstance(source, Listed) else ()
        except MissingDependencyError:
            if slash and len(wanted) == 1:
                raise
            continue
        inner = rest if slash else pattern.lower()
        names += [f"{one}/{name}" for name in known if fnmatchcase(name.lower(), inner)]
    return names


def published(name: str) -> PublishedModel:
    """What is known of a model before anything is downloaded, for each of its published weights.

    A library says what it says: torchvision gives accuracies and sizes of files, timm and the hub do not.
    For a model of the hub its small files (`config.json`, …) are fetched, unless they are in the cache.

    Raises:
        UnknownModelError: There is no such model; the nearest are listed.
        ModelError: It is a model of your own, of which nothing is published.
        FetchError: The hub's small files can't be fetched.
    """
    full = resolved(name)
    source, inner = find_source(full)
    if not isinstance(source, Listed):
        raise ModelError("is a model of your own: nothing is published of it", where=name)
    found = tuple(_located(one) for one in source.all_weights(inner))
    known = found[0].parameters if found else None
    arguments = found[0].builder_args if found else {}
    return PublishedModel(
        name=full,
        parameters=known if known is not None else _counted(source, inner, arguments),
        preprocessing=found[0].preprocessing if found else source.preprocessing(inner),
        weights=found,
    )


def stated(full: str) -> PublishedModel:
    """What a library says of a model in no time: it is not built, and no network is asked.

    Args:
        full: A name that `list_models` gave.
    """
    source, inner = find_source(full)
    found: tuple[PublishedWeights, ...]
    if isinstance(source, Settled):  # its descriptions are files on the hub
        place = cached_hub_file(inner, WEIGHTS)
        found = () if place is None else (_located(PublishedWeights("DEFAULT", cached=place)),)
    else:
        assert isinstance(source, Listed)
        found = tuple(_located(one) for one in source.all_weights(inner))
    first = found[0] if found else None
    return PublishedModel(
        full,
        parameters=first.parameters if first is not None else None,
        preprocessing=first.preprocessing if first is not None else None,
        weights=found,
    )


def _located(weights: PublishedWeights) -> PublishedWeights:
    """With the file's place and exact size, if it is on this machine."""
    place = weights.cached
    if place is None and weights.hub is not None:
        repository, file = weights.hub
        place = cached_hub_file(repository, list(dict.fromkeys((file, *WEIGHTS))), weights.revision)
    if place is None and weights.url is not None:
        place = _downloaded(weights.url)
    if place is None:
        return weights
    indexed = place.name.endswith(".index.json")
    return replace(weights, cached=place, nbytes=weights.nbytes if indexed else place.stat().st_size)


def _downloaded(url: str) -> Path | None:
    """Where the file is already, in our cache or torch.hub's; nothing is read or asked."""
    place = Place.of(url)
    return next((path for path in (place.file, torch_hub_folder() / place.name) if path.is_file()), None)


def _counted(source: Source, inner: str, arguments: Mapping[str, Any]) -> int | None:
    """Parameters of the model as its builder makes it, on the meta device."""
    failed: list[TorchgraftError] = []

    def build() -> Any:
        try:
            return source.build(inner, arguments)
        except TorchgraftError as error:
            failed.append(error)
            raise

    model = skeleton(build)
    return None if failed or model is None else sum(one.numel() for one in model.parameters())
