"""Models of transformers, by their repository on the Hugging Face hub or a folder of the same layout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from torchgraft.errors import FetchError, ModelError, UnknownModelError
from torchgraft.labels import labels_in
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.hub_files import WEIGHTS, cached_hub_file, cached_repositories, hub_file
from torchgraft.zoo.image_processors import preprocessing_in
from torchgraft.zoo.published_weights import PublishedWeights
from torchgraft.zoo.transformers_config import build_from_config, library_renames

__all__ = ["HubSource"]

_MAX_JSON = 32 << 20
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LICENCE = re.compile(r"^license:[ \t]*([^\s#]+)", re.MULTILINE)


class HubSource:
    """`"hf/google/vit-base-patch16-224"`, `"hf/owner/name@revision"`, `"hf/./folder"`.

    The model is built from the repository's `config.json`; only classes of transformers itself are built,
    never code that a repository brings.
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def build(self, name: str, arguments: Mapping[str, Any]) -> nn.Module:
        """The model as its config describes it, randomly initialised; weights are not downloaded."""
        changes = dict(arguments)
        config = changes.pop("config", None) or self._place(name).config
        return build_from_config(config, changes, where=f"hf/{name}")

    def preprocessing(self, name: str) -> Preprocessing | None:
        """What its image processor does; `None` where there is none."""
        place = self._place(name)
        processor = place.json("preprocessor_config.json")
        if processor is None:
            both = place.json("processor_config.json") or {}
            processor = both.get("image_processor")
        if not isinstance(processor, dict):
            return None
        return preprocessing_in(processor, model_type=place.config.get("model_type"), where=f"hf/{name}")

    def published(self, name: str, weights: str) -> PublishedWeights:
        """The repository's weights; other revisions are other names."""
        if weights != "DEFAULT":
            raise ModelError(
                f"has no published weights {weights!r}",
                where=f"hf/{name}",
                hint="it has DEFAULT; another revision is a part of the name: hf/owner/name@revision",
            )
        place = self._place(name)
        if place.folder is None:
            where = PublishedWeights(
                "DEFAULT",
                hub=(place.repository, WEIGHTS[0]),
                revision=place.revision,
                cached=cached_hub_file(place.repository, WEIGHTS, place.revision),
            )
        else:
            where = PublishedWeights("DEFAULT", path=place.folder, cached=_weights_in(place.folder))
        config = place.config
        labels = labels_in(config)
        how = self.preprocessing(name)
        return PublishedWeights(
            name="DEFAULT",
            hub=where.hub,
            revision=where.revision,
            path=where.path,
            cached=where.cached,
            preprocessing=how,
            labels=labels,
            builder_args={"config": config},
            rename=library_renames(config),
            input_size=(how.channels, *how.size) if how is not None else None,
            classes=len(labels) if labels is not None else None,
            licence=place.licence,
            nbytes=_size(where.cached) if where.cached is not None else None,
            origin=None if place.folder is not None else f"hf/{place.repository}",
        )

    def settled(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the config itself."""
        return arguments if "config" in arguments else {"config": self._place(name).config, **arguments}

    def names(self, *, published: bool = False) -> Sequence[str]:  # noqa: ARG002 (the protocol's)
        """What is in the cache: the hub has millions."""
        return cached_repositories()

    def all_weights(self, name: str) -> Sequence[PublishedWeights]:
        """The one set of weights of a repository."""
        return [self.published(name, "DEFAULT")]

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            self._places[name] = _Place(name)
        return self._places[name]


class _Place:
    """A repository or a folder.

    Raises:
        UnknownModelError: The name is neither.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder: Path | None = None
        self.repository, _, revision = name.partition("@")
        self.revision = revision or None
        self._read: dict[str, dict[str, Any] | None] = {}
        if name.startswith((".", "/", "~")):
            self.folder = Path(name).expanduser()
            if not self.folder.is_dir():
                raise UnknownModelError("there is no such folder", where=f"hf/{name}")
        elif not _REPOSITORY.fullmatch(self.repository) or ".." in self.repository:
            raise UnknownModelError(
                "is not the name of a repository",
                where=f"hf/{name}",
                hint='write "hf/owner/name", "hf/owner/name@revision" or "hf/./folder"',
            )

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its `config.json`."""
        found = self.json("config.json")
        if found is None:
            raise UnknownModelError(
                "holds no config.json, so it is not known which model it is", where=f"hf/{self.name}"
            )
        if "model_type" not in found and "architecture" in found:
            raise UnknownModelError(
                "is a model of timm, not of transformers",
                where=f"hf/{self.name}",
                hint=f'write "timm/{found["architecture"]}" and give the weights file',
            )
        return found

    @property
    def licence(self) -> str | None:
        """As its card says, where that is on this machine."""
        if self.folder is not None:
            card: Path | None = self.folder / "README.md"
        else:
            card = cached_hub_file(self.repository, ["README.md"], self.revision)
        if card is None or not card.is_file():
            return None
        head = card.read_text("utf-8", errors="replace")[:4096].split("\n---", 1)[0]
        found = _LICENCE.search(head) if head.startswith("---") else None
        return found[1].strip("\"'") if found else None

    def json(self, file: str) -> dict[str, Any] | None:
        """An object in one of its files; `None` if it has no such file. Each is asked for once."""
        if file not in self._read:
            self._read[file] = self._json(file)
        return self._read[file]

    def _json(self, file: str) -> dict[str, Any] | None:
        path = self.folder / file if self.folder is not None else self._fetched(file)
        if path is None or not path.is_file():
            return None
        try:
            if path.stat().st_size > _MAX_JSON:
                raise ValueError("it is too large")
            found = json.loads(path.read_text("utf-8-sig"))
            if not isinstance(found, dict):
                raise ValueError("it is not an object")
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"can't be read: {error}", where=f"hf/{self.name}: {file}") from error
        return cast("dict[str, Any]", found)

    def _fetched(self, file: str) -> Path | None:
        try:
            return hub_file(self.repository, file, self.revision)
        except FetchError:
            # A part that only some repositories have: where the config is in the cache, and this is not,
            # a missing network is no reason to stop.
            if file != "config.json" and cached_hub_file(self.repository, ["config.json"], self.revision):
                return None
            raise


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _size(path: Path) -> int:
    """Of a file, or of all the shards beside an index."""
    if not path.name.endswith(".index.json"):
        return path.stat().st_size
    ending = ".safetensors" if ".safetensors." in path.name else ".bin"
    return sum(shard.stat().st_size for shard in path.parent.glob(f"*-of-*{ending}"))
