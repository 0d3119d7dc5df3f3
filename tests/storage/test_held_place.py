"""A folder that took another one's name is not that other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError
from torchgraft.storage.held_place import HeldPlace
from torchgraft.storage.local_folder import LocalFolder


def test_another_folder_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    place = HeldPlace(tmp_path / "x")
    assert place.is_still(tmp_path / "x")
    (tmp_path / "x" / "file").touch()
    assert place.is_still(tmp_path / "x")
    (tmp_path / "x" / "file").unlink()
    for _ in range(20):
        (tmp_path / "x").rmdir()  # a system may give the number of one that is gone to the next
        (tmp_path / "x").mkdir()
        assert not place.is_still(tmp_path / "x")
    (tmp_path / "x").rmdir()
    assert not place.is_still(tmp_path / "x")


def test_it_lets_go(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(50):
        HeldPlace(tmp_path)
    assert (len(list(Path("/proc/self/fd").iterdir())) if before else 0) <= before + 1


def test_files_of_two_folders_are_not_mixed(tmp_path: Path) -> None:
    for name in ("x", "new"):
        (tmp_path / name).mkdir()
        for file in ("1", "2"):
            (tmp_path / name / file).write_text(name)
    folder = LocalFolder(tmp_path / "x")
    first = folder.open("1")
    (tmp_path / "x").rename(tmp_path / "old")
    (tmp_path / "new").rename(tmp_path / "x")
    assert bytes(first.view(0, 1)) == b"x"
    with pytest.raises(CheckpointError, match="replaced by another one") as caught:
        folder.open("2")
    assert caught.value.hint == "open it again"
