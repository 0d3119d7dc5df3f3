"""Folders that fsspec reads: listed once, and nothing outside of them opened."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from torchgraft.errors import CheckpointError, CorruptCheckpointError, FetchError, UnsafeCheckpointError
from torchgraft.storage import fsspec_folder
from torchgraft.storage.fsspec_folder import FsspecFolder
from torchgraft.storage.fsspec_place import FsspecPlace

NAMES = (f"folder{number}" for number in itertools.count())


@pytest.fixture
def place() -> Iterator[str]:
    """A folder beside a secret, in the file system in memory, which all of the process shares."""
    system, above = fsspec.filesystem("memory"), f"/{next(NAMES)}"
    for name, content in {"here/x": b"x", "here/sub/y": b"yy", "here/empty": b"", "secret": b"s"}.items():
        system.pipe_file(f"{above}/{name}", content)
    yield f"memory:/{above}/here"
    system.rm(above, recursive=True)


def folder_at(address: str) -> FsspecFolder:
    return FsspecFolder(FsspecPlace.of(address))


def test_what_is_in_it(place: str) -> None:
    folder = folder_at(place)
    assert (folder.files, folder.folders) == (("empty", "x"), ("sub",))
    assert (folder.size("x"), folder.size("sub/y"), folder.size("no"), folder.size("sub")) == (
        1,
        2,
        None,
        None,
    )
    assert (folder.size("no/no"), folder.size("./x")) == (None, 1)
    assert bytes(folder.open("sub/y").view(0, 2)) == b"yy"
    assert folder.inner("sub").files == ("y",)
    assert (folder.name, folder.path, folder.open("x").name) == (place, None, f"{place}/x")


@pytest.mark.parametrize("name", ["no", "sub", "sub/no"])
def test_no_such_file(name: str, place: str) -> None:
    with pytest.raises(CheckpointError, match=f"{place}/{name}: no such file"):
        folder_at(place).open(name)


def test_an_empty_file(place: str) -> None:
    with pytest.raises(CorruptCheckpointError, match=f"{place}/empty: the file is empty"):
        folder_at(place).open("empty")


@pytest.mark.parametrize(
    "name", ["../secret", "sub/../../secret", "..", "", "/secret", "..\\secret", "C:x", "x\0"]
)
def test_no_path_leads_out(name: str, place: str) -> None:
    for ask in (folder_at(place).open, folder_at(place).size, folder_at(place).inner):
        with pytest.raises(UnsafeCheckpointError, match="leads out") as caught:
            ask(name)
        assert caught.value.where == place


def test_it_is_listed_once(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = MemoryFileSystem.ls

    def ls(self: MemoryFileSystem, path: str, *args: Any, **options: Any) -> Any:
        asked.append(path)
        return original(self, path, *args, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    folder = folder_at(place)
    assert not asked
    assert [folder.size(name) for name in folder.files] == [0, 1]
    assert (len(folder.folders), len(asked)) == (1, 1)


def test_what_a_store_says_is_in_it_is_taken_for_a_name_in_it(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = FsspecPlace.of(place).path
    listed = [
        {"name": "/elsewhere/secret", "type": "file", "size": 1},
        {"name": f"{own}/", "type": "file", "size": 0},
        {"name": "", "type": "file"},
        {"type": "file"},
        {"name": f"{own}/odd", "type": "file", "size": "large"},
    ]
    monkeypatch.setattr(MemoryFileSystem, "ls", lambda *_args, **_options: listed)
    folder = folder_at(place)
    assert folder.files == ("odd", "secret")
    assert folder.size("odd") is None
    with pytest.raises(CheckpointError, match=f"{place}/secret: no such file"):
        folder.open("secret")


def test_a_folder_of_very_many_files(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec_folder, "_MAX_LISTED", 2)
    with pytest.raises(UnsafeCheckpointError, match=f"{place}: this folder holds 3 files"):
        _ = folder_at(place).files


def test_a_store_that_fails(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError("https://signed?SECRET")

    for method in ("ls", "info"):
        monkeypatch.setattr(MemoryFileSystem, method, fail)
    folder = folder_at(place)
    for ask in (lambda: folder.files, lambda: folder.size("sub/y"), lambda: folder.open("x")):
        with pytest.raises(FetchError, match="can't be read: OSError") as caught:
            ask()
        assert "SECRET" not in str(caught.value)
