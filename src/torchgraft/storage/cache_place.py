"""Where the cache is, and where in it the file of an address is kept."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from torchgraft.errors import FetchError
from torchgraft.storage.addresses import without_secrets

__all__ = ["LOCKS", "Place", "cache_folder", "torch_hub_folder"]

LOCKS = "locks"
"""The folder of locks, apart from the files, so that a file's folder can be removed under its lock."""

_RECORD, _PART, _NOTE = ".record.json", ".part", ".part.json"


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one address in the cache.

    Attributes:
        folder: Named after the whole address: two addresses may end in the same name.
        name: What the file is called in it.
    """

    folder: Path
    name: str

    @classmethod
    def of(cls, url: str) -> Place:
        """The place of what is behind an address.

        Raises:
            FetchError: The address names no file.
        """
        where = without_secrets(url)
        try:
            name = Path(unquote(urlsplit(url).path)).name
        except ValueError:
            raise FetchError("this is not a valid address", where=where) from None
        if not name or name in {".", "..", _RECORD, _PART, _NOTE} or "\0" in name:
            raise FetchError("the address names no file", where=where, hint="give the address of one file")
        return cls(cache_folder() / hashlib.sha256(url.encode()).hexdigest()[:16], name)

    @classmethod
    def at(cls, folder: Path) -> Place | None:
        """The place that a folder of the cache is; `None` if it is none."""
        names = [path.name for path in folder.iterdir() if path.name not in {_RECORD, _PART, _NOTE}]
        names = [name for name in names if not (name.startswith(".") and name.endswith(".new"))]
        place = cls(folder, names[0] if len(names) == 1 else "")
        return place if names or place.record.exists() or place.part.exists() else None

    @property
    def file(self) -> Path:
        """The file itself: whole, or not there."""
        return self.folder / self.name

    @property
    def record(self) -> Path:
        """What is known of the file."""
        return self.folder / _RECORD

    @property
    def part(self) -> Path:
        """What has come so far of a download that is not finished."""
        return self.folder / _PART

    @property
    def note(self) -> Path:
        """What is known of that part."""
        return self.folder / _NOTE

    @property
    def lock(self) -> Path:
        """Whoever holds this one may write in the folder."""
        return self.folder.parent / LOCKS / f"{self.folder.name}.lock"


def cache_folder() -> Path:
    """`$TORCHGRAFT_CACHE`, else `torchgraft/` in the user's cache folder."""
    if chosen := os.environ.get("TORCHGRAFT_CACHE"):
        return Path(chosen).expanduser()
    return _user_cache() / "torchgraft"


def torch_hub_folder() -> Path:
    """Where torch.hub keeps what it downloads; torchvision and timm use it too."""
    home = os.environ.get("TORCH_HOME")
    folder = Path(home).expanduser() if home else _user_cache() / "torch"
    return folder.absolute() / "hub" / "checkpoints"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
