"""Where a file may be found without asking its server: other caches, a mirror; and whether one is offline."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from torchgraft.storage.addresses import is_address
from torchgraft.storage.cache_place import Place, torch_hub_folder
from torchgraft.storage.cache_record import intact, read_record
from torchgraft.storage.known_digest import digest_beside

__all__ = ["find", "in_mirror", "mirror_address", "mirrored", "offline", "offline_hub"]


def find(where: str, place: Place, digest: str | None) -> Path | None:
    """The file of an address on this machine: kept before, in torch.hub's cache, or in the mirror's folder.

    Args:
        where: The address, without secrets.
        place: Its place in our cache.
        digest: The first digits of its SHA-256, or all, if they are known.
    """
    record = read_record(place)
    # Without a digest a name says little: another program may have another file under it.
    candidates = {place.folder / record.path: False} if record is not None else {}
    candidates |= {place.file: True, torch_hub_folder() / place.name: False}
    for path, trusted in candidates.items():
        if intact(where, place, path, digest, trusted=trusted):
            return path
    path_there = in_mirror(place.name)
    if path_there is None:
        return None
    right = digest or digest_beside(path_there)
    if right is None:
        return path_there  # what is in the mirror is the user's word
    return path_there if intact(where, place, path_there, right, trusted=True) else None


def in_mirror(name: str) -> Path | None:
    """The file of that name, or path, in the folder `$TORCHGRAFT_MIRROR`; `None` if there is none."""
    folder = _mirror_folder()
    path = None if folder is None else folder / name
    return path if path is not None and path.is_file() and path.stat().st_size else None


def mirrored(repository: str) -> bool:
    """Whether that folder holds files of a repository."""
    folder = _mirror_folder()
    return folder is not None and (folder / repository).is_dir()


def mirror_address(name: str) -> str | None:
    """Its address, where `$TORCHGRAFT_MIRROR` is one of the web."""
    mirror = os.environ.get("TORCHGRAFT_MIRROR") or ""
    return f"{mirror.rstrip('/')}/{quote(name)}" if is_address(mirror) else None


def _mirror_folder() -> Path | None:
    mirror = os.environ.get("TORCHGRAFT_MIRROR") or ""
    return None if not mirror or is_address(mirror) else Path(mirror).expanduser().absolute()


def offline() -> bool:
    """Whether nothing is to be downloaded."""
    return _is_on("TORCHGRAFT_OFFLINE")


def offline_hub() -> bool:
    """Whether nothing is to be downloaded from the Hugging Face hub."""
    return offline() or _is_on("HF_HUB_OFFLINE") or _is_on("TRANSFORMERS_OFFLINE")


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in {"1", "on", "yes", "true"}
