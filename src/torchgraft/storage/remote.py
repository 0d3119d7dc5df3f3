"""Opens what is at an address, to be read in parts from where it is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from torchgraft.errors import CheckpointError, FetchError
from torchgraft.storage.addresses import scheme_of, without_secrets
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.folder import Folder

__all__ = ["Opened", "open_address"]

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
            "pytorch_model.bin.index.json")  # fmt: skip
"""What weights are called in a folder of the Hugging Face Hub, the better one first: many hold several."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What is at an address.

    Attributes:
        file: The file; `None` where it is a folder.
        folder: That folder; or the one that the file is in, where others of the same checkpoint may be.
        name: The file's name there.
    """

    file: ByteFile | None
    folder: Folder
    name: str = ""


def open_address(address: str, *, verify: bool = False) -> Opened:
    """The file or folder at an address: read in parts, or downloaded where a server sends whole files only.

    Args:
        address: `http://` and `https://` are read by ranges, all others through fsspec.
        verify: Archives in it are to be held against their checksums when they are read.

    Raises:
        FetchError: It can't be had.
        MissingDependencyError: The package for this kind of address is not installed.
        CheckpointError: It is empty, or a folder on a web server.
    """
    if scheme_of(address) in {"http", "https"}:
        return _open_web(address, verify)
    from torchgraft.storage.fsspec_file import FsspecRanges
    from torchgraft.storage.fsspec_folder import FsspecFolder, open_fsspec_file
    from torchgraft.storage.fsspec_place import FsspecPlace

    place = FsspecPlace.of(address)
    info = place.info()
    if info.get("type") != "directory":
        file = open_fsspec_file(FsspecRanges(place, info), verify=verify)
        name = place.path.rstrip("/").rpartition("/")[2]
        return Opened(file, FsspecFolder(place.above(), verify=verify), name)
    folder = FsspecFolder(place, verify=verify)
    names = () if ".metadata" in folder.files else _WEIGHTS  # torch.distributed.checkpoint's is all of it
    known = next((name for name in names if name in folder.files), None)
    return Opened(folder.open(known) if known else None, folder, known or "")


def _open_web(address: str, verify: bool) -> Opened:
    from torchgraft.storage.web_file import open_web_file
    from torchgraft.storage.web_folder import WebFolder

    name = without_secrets(address)
    try:
        path = urlsplit(address).path
    except ValueError:
        raise FetchError("this is not a valid address", where=name) from None
    if path.endswith("/"):
        raise CheckpointError(
            "this is a folder on a web server, which does not say what is in it",
            where=name,
            hint=f"open a file in it, or the index of its shards: {name}model.safetensors.index.json",
        )
    folder = WebFolder(address, verify=verify)
    return Opened(open_web_file(address, verify=verify), folder, folder.files[0])
