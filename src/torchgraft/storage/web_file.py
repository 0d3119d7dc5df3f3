"""Opens a file on a web server, to be read in parts from where it is."""

from __future__ import annotations

import logging

from torchgraft.storage.addresses import without_secrets
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.download import fetch, find_fetched
from torchgraft.storage.elsewhere import offline
from torchgraft.storage.header_bytes import BLOCK
from torchgraft.storage.http_ranges import open_http_ranges
from torchgraft.storage.local import MappedFile
from torchgraft.storage.remote_file import RemoteFile

__all__ = ["open_web_file"]

_log = logging.getLogger(__name__)


def open_web_file(address: str, *, verify: bool) -> ByteFile:
    """The file at an `http` or `https` address: the one in a cache, or in parts from where it is.

    It is downloaded where its server sends whole files only.

    Raises:
        FetchError: It can't be had.
        CorruptCheckpointError: It is empty.
    """
    if (fetched := find_fetched(address)) is not None:
        return MappedFile(fetched, verify=verify)
    if offline():
        return MappedFile(fetch(address), verify=verify)  # which says where to put it
    opened = open_http_ranges(address, head=BLOCK)
    if opened is None:
        _log.warning(
            "%s: its server sends whole files only, so it is downloaded to the cache",
            without_secrets(address),
        )
        return MappedFile(fetch(address), verify=verify)
    ranges, head = opened
    return RemoteFile(ranges, head, verify=verify)
