"""Files are written whole or not at all, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from torchgraft.errors import SaveError
from torchgraft.storage.atomic import atomic_file, write_text_atomic


def write(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_and_its_replacement(tmp_path: Path) -> None:
    write(tmp_path / "x", b"one")
    assert (tmp_path / "x").read_bytes() == b"one"
    write_text_atomic(tmp_path / "x", "zwö")
    assert (tmp_path / "x").read_bytes() == "zwö".encode()
    assert names(tmp_path) == ["x"]


def test_the_old_file_is_there_until_the_end(tmp_path: Path) -> None:
    write(tmp_path / "x", b"old")
    with atomic_file(tmp_path / "x") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "x").read_bytes() == b"old"
    assert (tmp_path / "x").read_bytes() == b"new"


def fail_half_way(path: Path, error: BaseException) -> None:
    with atomic_file(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_in_the_block_passes_and_changes_nothing(error: BaseException, tmp_path: Path) -> None:
    write(tmp_path / "x", b"old")
    with pytest.raises(type(error)):
        fail_half_way(tmp_path / "x", error)
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "can't be written"),
    ],
)
def test_what_the_disk_says_is_explained(code: int, message: str, tmp_path: Path) -> None:
    write(tmp_path / "x", b"old")
    with pytest.raises(SaveError, match=message) as caught:
        fail_half_way(tmp_path / "x", OSError(code, os.strerror(code)))
    assert caught.value.where == str(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent/x", "no such folder"), ("folder", "this is a folder"), ("x" * 300, "name is too long"),
     ("file/x", "no such folder"), ("loop", "symbolic link")],
)  # fmt: skip
def test_where_nothing_can_be_written(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = names(tmp_path)
    with pytest.raises(SaveError, match=message):
        write(tmp_path / name, b"data")
    assert names(tmp_path) == before


def test_permissions_stay_and_new_files_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    (tmp_path / "mine").chmod(0o640)
    old = os.umask(0o027)
    try:
        write(tmp_path / "mine", b"1")
        write(tmp_path / "new", b"2")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    write(tmp_path / "target", b"old")
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
