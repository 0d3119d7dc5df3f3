"""A file far away that is read as a whole, such as a picture: into memory, and never more than is allowed."""

from __future__ import annotations

from http.client import HTTPException
from urllib.error import HTTPError

from torchgraft.errors import FetchError
from torchgraft.storage.addresses import scheme_of, without_secrets
from torchgraft.storage.fsspec_place import FsspecPlace
from torchgraft.storage.web import TIMEOUT, reason, send

__all__ = ["read_small"]

_CHUNK = 1 << 18


def read_small(address: str, *, most: int, timeout: float = TIMEOUT) -> bytes:
    """All bytes of an `http(s)://` address, or of one that fsspec knows; nothing is kept on disk.

    Args:
        address: Where it is.
        most: The largest size in bytes that is taken; reading stops there.
        timeout: Seconds that a web server may be silent.

    Raises:
        FetchError: It can't be had, or is larger.
        MissingDependencyError: The package for this kind of address is not installed.
    """
    if scheme_of(address) in ("http", "https"):
        return _from_web(address, most, timeout)
    place = FsspecPlace.of(address)
    data: bytes = place.ask(lambda: place.system.cat_file(place.path, start=0, end=most + 1))
    if len(data) > most:
        raise _too_large(place.name, most)
    return data


def _from_web(address: str, most: int, timeout: float) -> bytes:
    name = without_secrets(address)
    found = bytearray()
    try:
        with send(address, timeout=timeout) as response:
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) > most:
                raise _too_large(name, most)
            while chunk := response.read(_CHUNK):
                found += chunk
                if len(found) > most:
                    raise _too_large(name, most)
            if length.isdecimal() and len(found) < int(length):
                raise FetchError(f"{len(found)} of {length} bytes came", where=name, hint="try again")
    except HTTPError as error:
        error.close()
        raise FetchError(f"the server answers {error.code} {error.reason}", where=name) from None
    except (OSError, HTTPException) as error:
        raise FetchError(f"can't be read: {reason(error)}", where=name) from None
    return bytes(found)


def _too_large(name: str, most: int) -> FetchError:
    return FetchError(
        f"it is larger than {most:,} bytes", where=name, hint="fetch it yourself, and give the file"
    )
