"""A place in an object store or hub (`s3://`, `gs://`, `hf://`, …), through fsspec and its backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from torchgraft.errors import FetchError, MissingDependencyError
from torchgraft.storage.addresses import scheme_of, without_secrets

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["FsspecPlace"]

Result = TypeVar("Result")

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
             "abfss": "adlfs", "adl": "adlfs", "oci": "ocifs", "hf": "huggingface_hub"}  # fmt: skip
_LOCAL = {"file", "local"}


@dataclass(frozen=True, slots=True)
class FsspecPlace:
    """A file or folder; use `of`.

    Attributes:
        system: The store.
        path: The path in it.
        name: The address, without secrets.
    """

    system: AbstractFileSystem
    path: str
    name: str

    @classmethod
    def of(cls, address: str) -> FsspecPlace:
        """What an address leads to; nothing is asked yet.

        Raises:
            MissingDependencyError: The package for this kind of address is not installed.
            FetchError: It is no address that can be read.
        """
        name = without_secrets(address)
        return cls(*_resolve(address, name), name)

    def inside(self, name: str) -> FsspecPlace:
        """A place in this folder, by its path from here, which is known to stay in it."""
        return FsspecPlace(self.system, f"{self.path.rstrip('/')}/{name}", f"{self.name.rstrip('/')}/{name}")

    def above(self) -> FsspecPlace:
        """The folder that this file is in."""
        path, _, _ = self.path.rstrip("/").rpartition("/")
        name, _, _ = self.name.removesuffix("?…").rstrip("/").rpartition("/")
        return FsspecPlace(self.system, path, name)

    def info(self) -> dict[str, Any]:
        """What the store says of it, anew.

        Raises:
            FetchError: It can't be asked, or there is nothing.
        """

        return self.ask(self._info)

    def find(self) -> dict[str, Any] | None:
        """The same; `None` if there is nothing."""

        def ask() -> dict[str, Any] | None:
            try:
                return self._info()
            except FileNotFoundError:
                return None

        return self.ask(ask)

    def listing(self) -> list[dict[str, Any]]:
        """What the store says of all that is directly in this folder.

        Raises:
            FetchError: It can't be asked.
        """
        return self.ask(lambda: [dict(entry) for entry in self.system.ls(self.path, detail=True)])

    def ask(self, question: Callable[[], Result]) -> Result:
        """The answer to a question to the store.

        Raises:
            FetchError: There is none.
        """
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

    def _info(self) -> dict[str, Any]:
        self.system.invalidate_cache(self.path)
        return dict(self.system.info(self.path))


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
