"""Addresses that fsspec reads: its own file system in memory, and a stand-in for the Hugging Face Hub."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from torchgraft.errors import FetchError, MissingDependencyError
from torchgraft.storage.fsspec_file import FsspecRanges
from torchgraft.storage.fsspec_place import FsspecPlace
from torchgraft.storage.remote import open_address
from torchgraft.storage.remote_file import RemoteFile

REGISTRY = importlib.import_module("fsspec.registry")._registry  # `fsspec.registry` is a view of it
NAMES = (f"place{number}" for number in itertools.count())


class Hub(MemoryFileSystem):
    """Takes the place of `hf://`."""

    protocol = "hf"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    fails: Exception | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.replace("hf://", "memory://"))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        if self.fails is not None:
            raise self.fails
        return super().cat_file(path, start, end, **kwargs)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setitem(REGISTRY, "hf", Hub)
    monkeypatch.setattr(Hub, "store", {})
    monkeypatch.setattr(Hub, "pseudo_dirs", [""])
    monkeypatch.setattr(Hub, "fails", None)
    return Hub()


@pytest.fixture
def memory() -> Iterator[tuple[MemoryFileSystem, str]]:
    """The file system and a folder of it for one test alone: it is shared by the whole process."""
    system, place = fsspec.filesystem("memory"), f"/{next(NAMES)}"
    yield system, place
    system.rm(place, recursive=True)


def opened(address: str) -> FsspecRanges:
    return FsspecRanges(FsspecPlace.of(address))


def part(ranges: FsspecRanges, offset: int, length: int) -> bytes:
    into = bytearray(length)
    ranges.read_into(offset, memoryview(into))
    return bytes(into)


def test_parts(memory: tuple[MemoryFileSystem, str]) -> None:
    system, place = memory
    system.pipe_file(f"{place}/model.bin", b"0123456789")
    ranges = opened(f"memory:/{place}/model.bin")
    assert (ranges.name, ranges.size) == (f"memory:/{place}/model.bin", 10)
    assert part(ranges, 3, 4) == b"3456"


@pytest.mark.parametrize("content", [b"9876543210", b"01234567890"])
def test_a_file_that_is_written_anew_is_noticed(content: bytes, memory: tuple[MemoryFileSystem, str]) -> None:
    system, place = memory
    system.pipe_file(f"{place}/model.bin", b"0123456789")
    ranges = opened(f"memory:/{place}/model.bin")
    system.pipe_file(f"{place}/model.bin", content)
    with pytest.raises(FetchError, match=f"{place}/model.bin: the file changed while it was read"):
        RemoteFile(ranges).view(3, 4)


def test_too_few_bytes(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.pipe_file("/org/repo/x.bin", b"0123456789")
    ranges = opened("hf://org/repo/x.bin")
    monkeypatch.setattr(Hub, "cat_file", lambda *args, **options: b"01")
    with pytest.raises(FetchError, match=r"hf://org/repo/x\.bin: 2 bytes came instead of 4"):
        part(ranges, 3, 4)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["pytorch_model.bin", "model.safetensors", "README.md"], "model.safetensors"),
        (["pytorch_model.bin", "config.json"], "pytorch_model.bin"),
        (
            ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"],
            "model.safetensors.index.json",
        ),
        (["a.gguf", "b.gguf"], None),
        ([".metadata", "model.safetensors"], None),
    ],
)
@pytest.mark.parametrize("end", ["", "/"])
def test_a_repository(end: str, files: list[str], found: str | None, hub: Hub) -> None:
    """The weights' usual name is the file; otherwise it is a folder, for the containers to look at."""
    for name in files:
        hub.pipe_file(f"/org/repo/{name}", name.encode())
    place = open_address(f"hf://org/repo{end}")
    assert (place.folder.name, place.name) == ("hf://org/repo", found or "")
    if found is None:
        assert place.file is None
    else:
        assert place.file is not None
        assert place.file.name == f"hf://org/repo/{found}"
        assert bytes(place.file.view(0, place.file.size)) == found.encode()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("SECRET"), "no such file"),
        (PermissionError("SECRET"), "no permission"),
        (OSError("https://signed?SECRET"), "can't be read: OSError"),
        (RuntimeError("SECRET"), "can't be read: RuntimeError"),
    ],
)
def test_errors_of_a_store_are_one_kind_of_ours(error: Exception, message: str, hub: Hub) -> None:
    hub.pipe_file("/org/repo/x.bin", b"0123456789")
    ranges = opened("hf://org/repo/x.bin")
    Hub.fails = error
    with pytest.raises(FetchError, match=message) as caught:
        part(ranges, 0, 1)
    assert "SECRET" not in str(caught.value)
    assert caught.value.where == "hf://org/repo/x.bin"


def test_no_such_file() -> None:
    with pytest.raises(FetchError, match=r"memory://nowhere/x\.bin: no such file"):
        opened("memory://nowhere/x.bin")


@pytest.mark.parametrize(
    ("scheme", "module", "command"),
    [("s3", "s3fs", "pip install s3fs"), ("gs", "gcsfs", "pip install gcsfs"), ("sftp", "paramiko", None)],
)
def test_an_absent_package_is_named(
    scheme: str, module: str, command: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(REGISTRY, scheme, raising=False)
    with pytest.raises(MissingDependencyError, match=f"{scheme}://host/x: .*another package") as caught:
        opened(f"{scheme}://me:SECRET@host/x")
    assert command is None or caught.value.hint == command
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///etc/passwd", "of this machine"),
        ("LOCAL:///etc/passwd", "of this machine"),
        ("memory://x.zip::zip://y", "files in files"),
        ("nonsense://x/y", "of a kind that is not known"),
        ("reference://x", "can't be read"),
    ],
)
def test_addresses_that_are_not_read(address: str, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        opened(address)
