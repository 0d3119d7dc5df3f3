"""From what the user gave as weights to an opened checkpoint: a path, a URL, or a published name."""

from __future__ import annotations

import os
from pathlib import Path

from torchgraft import checkpoint as checkpoints
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import FetchError, ModelError
from torchgraft.storage.addresses import is_address, scheme_of, without_secrets
from torchgraft.storage.download import fetch
from torchgraft.zoo.sources import Published, Source

__all__ = ["open_weights"]

_FILE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar", ".pkl")


def open_weights(
    source: Source, inner: str, weights: str | os.PathLike[str] | Checkpoint
) -> tuple[Checkpoint, Published | None]:
    """Open the weights; for published ones also what is published about them.

    Raises:
        ModelError: The model has no published weights of that name.
        FetchError: They can't be downloaded.
        CheckpointError: The file can't be read.
    """
    if isinstance(weights, Checkpoint):
        return weights, None
    if not isinstance(weights, str) or _is_path(weights):
        return checkpoints.open(weights), None
    if scheme_of(weights) in {"http", "https"} and not _is_index(weights):
        return checkpoints.open(fetch(weights)), None  # published weights are kept
    if is_address(weights):
        return checkpoints.open(weights), None
    published = source.published(inner, weights)
    return checkpoints.open(_fetch_published(published)), published


def _is_path(weights: str) -> bool:
    if is_address(weights):
        return False
    return weights.endswith(_FILE_ENDINGS) or os.sep in weights or Path(weights).exists()


def _is_index(address: str) -> bool:
    """Whether it is the index of shards, which are found beside it and read from where they are."""
    return without_secrets(address).removesuffix("?…").endswith(".json")


def _fetch_published(published: Published) -> Path:
    if published.hub is not None:
        return _from_hub(*published.hub)
    if published.url is None:
        raise ModelError("these weights are published nowhere that can be fetched from", where=published.name)
    return fetch(published.url)


def _from_hub(repository: str, file: str) -> Path:
    """Through huggingface_hub, its cache and its offline switches."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        try:
            return Path(hf_hub_download(repository, file))
        except EntryNotFoundError:
            return Path(hf_hub_download(repository, "pytorch_model.bin"))
    except Exception as error:  # whatever its HTTP layer raises: connection, offline, permission
        raise FetchError(
            f"can't be fetched from the Hugging Face hub: {type(error).__name__}",
            where=f"{repository}/{file}",
            hint="without a network, download it elsewhere and give the file: weights='path/to/file'",
        ) from error
