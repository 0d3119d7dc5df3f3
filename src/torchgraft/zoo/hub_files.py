"""Which files of a Hugging Face repository are its weights, and which of them are in the cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchgraft.errors import FetchError, MissingDependencyError

__all__ = ["WEIGHTS", "cached_hub_file", "cached_repositories", "hub_file", "hub_weights"]

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What the weights of a repository are called; a file is preferred to shards, safetensors to pickles."""

_MAX_INDEX = 24 << 20


def hub_file(repository: str, file: str, revision: str | None = None) -> Path | None:
    """One file, from the cache or downloaded now; `None` if the repository does not hold it.

    Raises:
        FetchError: It is not in the cache, and the hub can't be reached or refuses.
        MissingDependencyError: huggingface_hub is not installed.
    """
    _hub()
    from torchgraft.storage import hub

    return hub.hub_file(repository, file, revision)


def hub_weights(repository: str, file: str, revision: str | None = None) -> Path:
    """The file of weights, or the index of its shards, with the shards beside it.

    Args:
        repository: `owner/name`.
        file: What it is called; the usual names are tried after it.
        revision: A branch, tag or commit.

    Raises:
        FetchError: It can't be fetched, or there is none.
    """
    failed: FetchError | None = None
    for name in dict.fromkeys((file, *WEIGHTS)):
        try:
            found = hub_file(repository, name, revision)
        except FetchError as error:
            failed = failed or error  # offline, the next one may be in the cache
            if cached_hub_file(repository, WEIGHTS, revision) is None:
                raise
            continue
        if found is not None:
            for shard in _shards(found):
                if hub_file(repository, shard, revision) is None:
                    raise FetchError(
                        f"the repository lacks {shard!r}, which its index names", where=repository
                    )
            return found
    raise failed or FetchError(
        "the repository holds no weights under the usual names",
        where=repository,
        hint=f"those are {', '.join(WEIGHTS)}; give another file: weights='hf://{repository}/…'",
    )


def cached_hub_file(repository: str, files: Sequence[str], revision: str | None = None) -> Path | None:
    """The first of these files that is in huggingface_hub's cache; nothing is asked of the network."""
    try:
        hub = _hub()
    except MissingDependencyError:
        return None
    for file in files:
        try:
            found = hub.try_to_load_from_cache(repository, file, revision=revision)
        except ValueError:  # not a repository's name
            return None
        if isinstance(found, str):
            return Path(found)
    return None


def cached_repositories() -> list[str]:
    """Repositories with a `config.json` in huggingface_hub's cache, in alphabetical order."""
    from huggingface_hub import constants

    found = []
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        repository = folder.name.removeprefix("models--").replace("--", "/")
        if any(folder.glob("snapshots/*/config.json")):
            found.append(repository)
    return found


def _shards(path: Path) -> list[str]:
    if not path.name.endswith(".index.json") or path.stat().st_size > _MAX_INDEX:
        return []
    try:
        places = json.loads(path.read_text("utf-8"))["weight_map"]
        names = sorted({str(name) for name in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # opening it says what is wrong
    return [name for name in names if ".." not in Path(name).parts and not Path(name).is_absolute()]


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError(
            "huggingface_hub is not installed", hint="pip install huggingface_hub"
        ) from error
    return huggingface_hub
