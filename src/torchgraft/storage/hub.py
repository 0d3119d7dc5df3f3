"""Files of the Hugging Face hub: through huggingface_hub and its cache, then held against their digest."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from torchgraft.errors import FetchError
from torchgraft.storage.cache_place import Place
from torchgraft.storage.cache_record import Record, read_record, sha256_of, write_record
from torchgraft.storage.elsewhere import in_mirror, mirrored, offline, offline_hub

__all__ = ["HubAddress", "find_in_hub_cache", "hub_file"]

_BLOB = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_PAGE = re.compile(r"/((?:[^/]+/)?[^/]+)/(?:resolve|blob)/([^/]+)/(.+)")
_SHORT = re.compile(r"hf://(?:models/)?([^/@]+/[^/@]+)(?:@([^/]+))?/([^?#]+)")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """An address that is of the hub.

    Attributes:
        repository: Its name, such as `timm/resnet18.a1_in1k`.
        name: The file's path in it.
        revision: A branch, tag or commit; `None` is the main branch.
    """

    repository: str
    name: str
    revision: str | None

    @classmethod
    def of(cls, url: str) -> HubAddress | None:
        """`hf://…`, or a file's address on the hub's pages; `None` for any other."""
        if found := _SHORT.fullmatch(url):
            return cls(found[1], found[3], found[2])
        try:
            parts, home = urlsplit(url), urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        except ValueError:
            return None
        found = _PAGE.fullmatch(parts.path)
        if (parts.scheme, parts.netloc) != (home.scheme, home.netloc) or found is None:
            return None
        if found[1].partition("/")[0] in {"datasets", "spaces", "api"}:
            return None
        repository, revision, name = (unquote(part) for part in found.groups())
        return cls(repository, name, None if revision == "main" else revision)


def hub_file(repository: str, name: str, revision: str | None = None) -> Path | None:
    """A repository's file: from `$TORCHGRAFT_MIRROR`, the hub's cache or the hub; `None` if it has none.

    What comes is held against the digest that the hub's cache is named by: the SHA-256 of large files, the
    Git hash of small ones. It is hashed once, and again when its length or time differs.

    Raises:
        FetchError: It can't be had, or comes with wrong bytes twice.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if (path := in_mirror(f"{repository}/{name}")) is not None:
        return path
    try:
        return _right(repository, name, revision)
    except FetchError:
        raise
    except LocalEntryNotFoundError as error:  # offline; it is an EntryNotFoundError too
        if _known_absent(repository, name, revision):
            return None
        raise _out_of_reach(repository, name, error) from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # whatever its HTTP layer raises: connection, permission, no such repository
        raise _out_of_reach(repository, name, error) from error


def find_in_hub_cache(address: HubAddress) -> Path | None:
    """The file, if the mirror or the hub's cache has it and it is right; nothing is asked of the network."""
    from huggingface_hub import try_to_load_from_cache

    if (path := in_mirror(f"{address.repository}/{address.name}")) is not None:
        return path
    try:
        found = try_to_load_from_cache(address.repository, address.name, revision=address.revision)
    except ValueError:  # no name that a repository can have
        return None
    if not isinstance(found, str):
        return None
    place, url = _place(address.repository, address.name, address.revision)
    return Path(found) if _is_right(Path(found), place, url) else None


def _place(repository: str, name: str, revision: str | None) -> tuple[Place, str]:
    """Where the record of a file is kept, and what it is called there."""
    return Place.of(f"hf://{repository}@{revision or 'main'}/{name}"), f"hf://{repository}/{name}"


def _right(repository: str, name: str, revision: str | None) -> Path:
    path = _download(repository, name, revision, again=False)
    place, url = _place(repository, name, revision)
    try:
        place.lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.lock):
            if _is_right(path, place, url):
                return path
            path = _download(repository, name, revision, again=True)
            if _is_right(path, place, url):
                return path
    except PermissionError:  # a cache for reading only: checked, but not recorded
        if _is_right(path, place, url):
            return path
    raise FetchError(
        "the hub sent wrong bytes: they don't have the digest that it says",
        where=f"{repository}/{name}",
        hint=f"remove {path.resolve()} and try again; HF_HUB_DISABLE_XET=1 takes another way",
    )


def _download(repository: str, name: str, revision: str | None, *, again: bool) -> Path:
    from huggingface_hub import hf_hub_download

    extra: dict[str, Any] = {"revision": revision} if revision else {}
    if offline():
        extra["local_files_only"] = True
    elif again:
        if offline_hub():
            raise FetchError(
                "the file in the hub's cache is damaged, and this is offline",
                where=f"{repository}/{name}",
                hint="download it again where there is a network, or give a file: weights='path/to/file'",
            )
        extra["force_download"] = True
    return Path(hf_hub_download(repository, name, **extra))


def _is_right(path: Path, place: Place, url: str) -> bool:
    """Whether a file of the hub's cache has the digest that it is named by there."""
    blob = path.resolve()
    if blob.parent.name != "blobs" or not _BLOB.fullmatch(blob.name):
        return blob.stat().st_size > 0  # a disk without links keeps no digest; the hub checked the length
    record = read_record(place)
    if record is not None and record.path == str(blob) and record.describes(blob):
        return True
    git = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    sha256 = sha256_of(blob, git.update)
    if blob.name not in (sha256, git.hexdigest()):
        return False
    write_record(place, Record.of(url, place, blob, sha256))
    return True


def _known_absent(repository: str, name: str, revision: str | None) -> bool:
    """Whether its cache remembers that a repository lacks the file, or a mirror of it does not hold it."""
    from huggingface_hub import try_to_load_from_cache

    if offline_hub() and mirrored(repository):
        return True
    found = try_to_load_from_cache(repository, name, revision=revision)
    return found is not None and not isinstance(found, str)


def _out_of_reach(repository: str, name: str, error: Exception) -> FetchError:
    kind = type(error).__name__
    what = f"can't be fetched from the Hugging Face hub: {kind}"
    if kind in {"GatedRepoError", "RepositoryNotFoundError"}:
        hint = "check the name; where the repository asks for it, accept its terms and log in: hf auth login"
    else:
        hint = (
            "check the name; without a network, download it elsewhere and give the file: "
            f"weights='path/to/file', or set TORCHGRAFT_MIRROR to a folder that holds {repository}/{name}"
        )
    if offline_hub():
        what = f"it is not in the hub's cache, and this is offline; {what}"
    return FetchError(what, where=f"{repository}/{name}", hint=hint)
