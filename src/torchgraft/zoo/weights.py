"""From what the user gave as weights to an opened checkpoint: a path, a URL, or a published name."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from torchgraft import checkpoint as checkpoints
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import ModelError
from torchgraft.storage.addresses import is_address, scheme_of, without_secrets
from torchgraft.storage.download import fetch, find_fetched
from torchgraft.zoo.hub_files import hub_weights
from torchgraft.zoo.published_weights import PublishedWeights
from torchgraft.zoo.sources import Listed, Settled, Source

__all__ = ["open_weights"]

_HASHED = re.compile(r"-[0-9a-f]{8}\.\w+$")
_FILE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar", ".pkl")


def open_weights(
    source: Source, inner: str, weights: str | os.PathLike[str] | Checkpoint
) -> tuple[Checkpoint, PublishedWeights | None]:
    """Open the weights; for published ones also what is published about them.

    A file or address whose name is that of a published file, with its hash (`resnet50-11ad3fa6.pth`), is
    taken to be that one.

    Raises:
        ModelError: The model has no published weights of that name.
        FetchError: They can't be downloaded.
        CheckpointError: The file can't be read.
    """
    if isinstance(weights, Checkpoint):
        return weights, None
    if not isinstance(weights, str) or _is_path(weights):
        return checkpoints.open(weights), _published_as(source, inner, Path(weights).name)
    if scheme_of(weights) in {"http", "https"} and not _is_index(weights):
        file = fetch(weights)  # published weights are kept
        return checkpoints.open(file), _published_as(source, inner, file.name)
    if is_address(weights):
        return checkpoints.open(weights), None
    published = source.published(inner, weights)
    checkpoint = checkpoints.open(_fetch_published(published))
    return checkpoint, replace(published, rename=_that_apply(published.rename, list(checkpoint)))


def _published_as(source: Source, inner: str, file: str) -> PublishedWeights | None:
    """What is published about a file of this name, which holds a hash; `None` if nothing is."""
    if not _HASHED.search(file) or not isinstance(source, Listed) or isinstance(source, Settled):
        return None
    found = [one for one in source.all_weights(inner) if one.url and one.url.rpartition("/")[2] == file]
    return found[0] if found else None


def _that_apply(
    rules: tuple[tuple[re.Pattern[str], str], ...], names: list[str]
) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The rules that change a name; none where they would make one name of two."""
    used = []
    for pattern, new in rules:
        renamed = [pattern.sub(new, name) for name in names]
        if renamed != names:
            used.append((pattern, new))
        names = renamed
    return tuple(used) if len(set(names)) == len(names) else ()


def _is_path(weights: str) -> bool:
    if is_address(weights):
        return False
    return weights.endswith(_FILE_ENDINGS) or os.sep in weights or Path(weights).exists()


def _is_index(address: str) -> bool:
    """Whether it is the index of shards, which are found beside it and read from where they are."""
    return without_secrets(address).removesuffix("?…").endswith(".json")


def _fetch_published(published: PublishedWeights) -> Path:
    if published.path is not None:
        return published.path
    if published.url is not None and (found := find_fetched(published.url)) is not None:
        return found  # another program downloaded it, before its weights moved to the hub
    if published.hub is not None:
        return hub_weights(*published.hub, published.revision)
    if published.url is None:
        raise ModelError("these weights are published nowhere that can be fetched from", where=published.name)
    return fetch(published.url)
