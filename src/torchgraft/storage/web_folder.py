"""The folder on a web server that a file is in: others beside it can be opened, but not listed."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from torchgraft.errors import CheckpointError, FetchError
from torchgraft.storage.addresses import without_secrets
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.folder import inner_path
from torchgraft.storage.web_file import open_web_file

__all__ = ["WebFolder"]

_ABSENT = {404, 410}


class WebFolder:
    """A folder by the address of one of its files.

    The others are asked of the same host, with the same user and password, and the same query behind
    their address. A name in it is a name: nothing in it is read as a host, a query or a way out.

    Args:
        address: `http://` or `https://…`, of a file.
        verify: Archives in its files are to be held against their checksums when they are read.

    Attributes:
        name: Its address, without secrets.
        path: `None`: it is not on this machine.
        files: The name of that one file: a web server does not list what it has.
        folders: None.
    """

    def __init__(self, address: str, *, verify: bool = False) -> None:
        self._parts = urlsplit(address)
        self._base, _, name = self._parts.path.rpartition("/")
        self._verify = verify
        self._opened: dict[str, ByteFile | None] = {}
        self.name = without_secrets(urlunsplit((*self._parts[:2], self._base, "", "")))
        self.path = None
        self.files = (unquote(name),)
        self.folders: tuple[str, ...] = ()

    def size(self, name: str) -> int | None:
        """Length in bytes of a file in it, by its path from here; `None` if there is none.

        Raises:
            UnsafeCheckpointError: The path leads out of the folder.
            FetchError: The server can't be asked.
        """
        file = self._find(name)
        return None if file is None else file.size

    def open(self, name: str) -> ByteFile:
        """A file in it, or in a folder in it, by its path from here.

        Raises:
            CheckpointError: There is no such file, or it is empty.
            UnsafeCheckpointError: The path leads out of the folder.
            FetchError: The server can't be asked.
        """
        file = self._find(name)
        if file is None:
            raise CheckpointError("no such file", where=f"{self.name}/{name[:200]}", hint="check the address")
        return file

    def inner(self, name: str) -> WebFolder:
        """A folder directly in it."""
        name = inner_path(name, self.name)
        return WebFolder(self._address(f"{name}/"), verify=self._verify)

    def _find(self, name: str) -> ByteFile | None:
        """The file, which is asked for once."""
        name = inner_path(name, self.name)
        if name not in self._opened:
            try:
                self._opened[name] = open_web_file(self._address(name), verify=self._verify)
            except FetchError as error:
                cause = error.__cause__
                if not isinstance(cause, HTTPError) or cause.code not in _ABSENT:
                    raise
                self._opened[name] = None
        return self._opened[name]

    def _address(self, name: str) -> str:
        scheme, host, _, query, _ = self._parts
        return urlunsplit(
            (scheme, host, f"{self._base}/{quote(name, safe='/', errors='surrogatepass')}", query, "")
        )
