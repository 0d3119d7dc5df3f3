"""Files in object stores and hubs (`s3://`, `gs://`, `hf://`, …), through fsspec and its backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from torchgraft.errors import CheckpointError, FetchError, MissingDependencyError
from torchgraft.storage.addresses import scheme_of, without_secrets

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["FsspecRanges"]

Result = TypeVar("Result")

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
             "abfss": "adlfs", "adl": "adlfs", "oci": "ocifs", "hf": "huggingface_hub"}  # fmt: skip
_LOCAL = {"file", "local"}
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What weights are called in a folder of the Hugging Face Hub, the better one first."""

_MARKS = ("size", "ETag", "etag", "generation", "version_id", "blob_id", "LastModified", "last_modified",
          "mtime", "updated", "created")  # fmt: skip
"""What file systems say that is another after a file has been written anew."""


class FsspecRanges:
    """A file that fsspec can read in parts.

    Args:
        address: Of a file, or of a folder with one file of weights, such as `hf://org/repository`.

    Attributes:
        name: The file's address, without secrets.
        size: Its length in bytes.

    Raises:
        MissingDependencyError: The package for this kind of address is not installed.
        FetchError: It can't be read.
        CheckpointError: It is a folder, and which file in it is meant can't be told.
    """

    def __init__(self, address: str) -> None:
        self.name = without_secrets(address)
        self._system, self._path = _resolve(address, self.name)
        # fsspec's own file objects read ahead, which would be more than is asked for
        self._options = {} if self._system.async_impl else {"cache_type": "none"}
        info = self._info()
        if info.get("type") == "directory":
            inner = self._weights_inside()
            self.name = f"{self.name.rstrip('/')}/{inner}"
            self._path = f"{self._path.rstrip('/')}/{inner}"
            info = self._info()
        size = info.get("size")
        if not isinstance(size, int):
            raise FetchError("its size is not known, so it can't be read in parts", where=self.name)
        self.size = size
        self._mark = _mark(info)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill a buffer with the bytes from `offset` on.

        Raises:
            FetchError: They can't be had.
        """
        end = offset + len(into)
        data = self._ask(lambda: self._system.cat_file(self._path, start=offset, end=end, **self._options))
        if len(data) != len(into):
            raise FetchError(
                f"{len(data)} bytes came instead of {len(into)}", where=self.name, hint="try again"
            )
        into[:] = data

    def check(self) -> None:
        """Ask whether the file is still the one that was opened.

        Raises:
            FetchError: It has changed.
        """
        if _mark(self._info()) != self._mark:
            raise FetchError("the file changed while it was read", where=self.name, hint="open it again")

    def _info(self) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            self._system.invalidate_cache(self._path)
            return dict(self._system.info(self._path))

        return self._ask(ask)

    def _weights_inside(self) -> str:
        listed = self._ask(lambda: self._system.ls(self._path, detail=False))
        names = sorted(str(path).rstrip("/").rpartition("/")[2] for path in listed)
        for name in _WEIGHTS:
            if name in names:
                return name
        if any(name.endswith(".index.json") for name in names):
            raise CheckpointError(
                "its weights are in several files, which are not read from afar",
                where=self.name,
                hint="download the folder and open that, or open one of its files by its own address",
            )
        raise CheckpointError(
            f"this is a folder without {' or '.join(_WEIGHTS)}",
            where=self.name,
            hint=f"open a file in it: {', '.join(names[:8]) or 'it is empty'}",
        )

    def _ask(self, question: Callable[[], Result]) -> Result:
        try:
            return question()
        except FileNotFoundError:
            raise FetchError("no such file", where=self.name, hint="check the address") from None
        except PermissionError:
            raise FetchError(
                "no permission to read it", where=self.name, hint="log in as this store's own tools do"
            ) from None
        except Exception as error:  # whatever the store's package raises; its text may hold a signed address
            raise FetchError(
                f"can't be read: {type(error).__name__}",
                where=self.name,
                hint="check the address, the network and your credentials for this store",
            ) from error


def _resolve(address: str, name: str) -> tuple[AbstractFileSystem, str]:
    scheme = scheme_of(address)
    if scheme in _LOCAL or "::" in address:
        raise FetchError(
            "addresses of this machine, or of files in files, are not read",
            where=name,
            hint="give the path of the file itself",
        )
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        raise MissingDependencyError(
            f"addresses of the kind {scheme}:// need another package",
            where=name,
            hint=f"pip install {package}" if package else str(error),
        ) from error
    except Exception as error:  # an unknown scheme is a ValueError, like an address that makes no sense
        known = scheme in fsspec.available_protocols()
        what = "can't be read" if known else "is of a kind that is not known"
        raise FetchError(
            f"this address {what}: {scheme}://",
            where=name,
            hint="https, s3, gs, hf and what else fsspec knows can be read",
        ) from (error if known else None)
    return system, str(path)


def _mark(info: dict[str, Any]) -> tuple[object, ...]:
    return tuple(info.get(key) for key in _MARKS)
