"""Folders are written whole or not at all, and what is not ours is left alone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from torchgraft.errors import SaveError
from torchgraft.storage.atomic_folder import atomic_folder


def mine(name: str) -> bool:
    return name.startswith("mine")


def write(path: Path, **files: str) -> None:
    with atomic_folder(path, mine=mine) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_new_folder_and_its_replacement(tmp_path: Path) -> None:
    write(tmp_path / "x", mine1="a", mine2="b")
    assert contents(tmp_path) == {"x/mine1": "a", "x/mine2": "b"}
    write(tmp_path / "x", mine3="c")
    assert contents(tmp_path) == {"x/mine3": "c"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write(tmp_path / "x", mine1="a")
    assert contents(tmp_path) == {"x/mine1": "a"}


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "x").symlink_to("real")
    write(tmp_path / "x", mine1="a")
    assert (tmp_path / "x").is_symlink()
    assert (tmp_path / "real" / "mine1").read_text() == "a"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_error_changes_nothing(error: BaseException, tmp_path: Path) -> None:
    write(tmp_path / "x", mine1="old")

    def fail() -> None:
        with atomic_folder(tmp_path / "x", mine=mine) as folder:
            (folder / "mine1").write_text("new")
            raise error

    with pytest.raises(SaveError if isinstance(error, OSError) else type(error)):
        fail()
    assert contents(tmp_path) == {"x/mine1": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("other", ["notes.txt", "mine.d/x"])
def test_other_files_are_not_replaced(other: str, tmp_path: Path) -> None:
    (tmp_path / "x" / other).parent.mkdir(parents=True)
    (tmp_path / "x" / other).write_text("keep")
    with pytest.raises(SaveError, match="would be replaced as a whole"):
        write(tmp_path / "x", mine1="a")
    assert contents(tmp_path) == {f"x/{other}": "keep"}


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def busy() -> None:
        with atomic_folder(tmp_path / "x", mine=mine):
            (tmp_path / "x").mkdir()
            (tmp_path / "x" / "notes.txt").write_text("keep")

    with pytest.raises(SaveError, match=r"notes\.txt"):
        busy()
    assert contents(tmp_path) == {"x/notes.txt": "keep"}


@pytest.mark.parametrize("which", [1, 2])
def test_a_move_that_fails_is_undone(which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x", mine1="old")
    calls = 0
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == which:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(SaveError, match="no permission"):
        write(tmp_path / "x", mine1="new")
    assert contents(tmp_path) == {"x/mine1": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/x", "no such folder"),
        ("file", "this is a file"),
        ("file/x", "no such folder"),
        ("loop", "link"),
    ],
)
def test_where_nothing_can_be_written(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SaveError, match=message):
        write(tmp_path / name, mine1="a")
    assert sorted(tmp_path.rglob("*")) == before
