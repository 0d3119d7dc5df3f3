"""Opens a file by its address, to be read in parts from where it is."""

from __future__ import annotations

import logging

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.storage.addresses import scheme_of, without_secrets
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.download import fetch
from torchgraft.storage.header_bytes import BLOCK
from torchgraft.storage.http_ranges import open_http_ranges
from torchgraft.storage.local import MappedFile
from torchgraft.storage.remote_file import RemoteFile

__all__ = ["open_address"]

_log = logging.getLogger(__name__)


def open_address(address: str, *, verify: bool = False) -> ByteFile:
    """The file at an address: read in parts, or downloaded where its server sends whole files only.

    Args:
        address: `http://` and `https://` are read by ranges, all others through fsspec.
        verify: Archives in it are to be held against their checksums when they are read.

    Raises:
        FetchError: It can't be had.
        MissingDependencyError: The package for this kind of address is not installed.
        CheckpointError: It is empty, or an index of several files.
    """
    name = without_secrets(address)
    if name.removesuffix("?…").endswith(".index.json"):
        raise CheckpointError(
            "this is an index of several files, which are not read from afar",
            where=name,
            hint="download the folder and open that, or open one of its files by its own address",
        )
    if scheme_of(address) in {"http", "https"}:
        return _open_web(address, verify)
    from torchgraft.storage.fsspec_file import FsspecRanges

    ranges = FsspecRanges(address)
    if not ranges.size:
        raise CorruptCheckpointError("the file is empty (0 bytes)", where=ranges.name, hint="upload it again")
    return RemoteFile(ranges, verify=verify)


def _open_web(address: str, verify: bool) -> ByteFile:
    opened = open_http_ranges(address, head=BLOCK)
    if opened is None:
        _log.warning(
            "%s: its server sends whole files only, so it is downloaded to the cache",
            without_secrets(address),
        )
        return MappedFile(fetch(address), verify=verify)
    ranges, head = opened
    return RemoteFile(ranges, head, verify=verify)
