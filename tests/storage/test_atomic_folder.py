"""Folders are written whole or not at all, and what is not ours is left alone."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from torchgraft.errors import SaveError
from torchgraft.storage.atomic import atomic_file
from torchgraft.storage.atomic_folder import atomic_folder, can_replace
from torchgraft.storage.exchanging import exchange


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


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where system or disk can't exchange two names in one step."""
    monkeypatch.setattr("torchgraft.storage.atomic_folder.exchange", lambda *_: False)


def failing_rename(monkeypatch: pytest.MonkeyPatch, which: int, error: BaseException) -> None:
    calls = 0
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == which:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)


@pytest.mark.parametrize("which", [1, 2, 3])
@pytest.mark.usefixtures("no_exchange")
def test_a_move_that_fails_is_undone(which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x", mine1="old")
    failing_rename(monkeypatch, which, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    with pytest.raises(SaveError, match="no permission"):
        write(tmp_path / "x", mine1="new")
    assert contents(tmp_path) == {"x/mine1": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.usefixtures("no_exchange")
def test_two_moves_do_where_no_exchange_is_possible(tmp_path: Path) -> None:
    write(tmp_path / "x", mine1="old")
    write(tmp_path / "x", mine2="new")
    assert contents(tmp_path) == {"x/mine2": "new"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


KILLED_BETWEEN = """
import os, sys
from pathlib import Path
import torchgraft.storage.atomic_folder as room
room.exchange = lambda *_: False
rename, calls = Path.rename, []
def killed(self, target):
    calls.append(1)
    if len(calls) == 3:
        os._exit(9)
    return rename(self, target)
Path.rename = killed
with room.atomic_folder(sys.argv[1], mine=lambda name: True) as folder:
    (folder / "mine1").write_text("new")
"""


def test_what_was_moved_aside_is_put_back(tmp_path: Path) -> None:
    write(tmp_path / "x", mine1="old")
    assert subprocess.run([sys.executable, "-c", KILLED_BETWEEN, tmp_path / "x"], check=False).returncode == 9
    assert not (tmp_path / "x").exists()

    def fail() -> None:
        with atomic_folder(tmp_path / "x", mine=mine):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (ours)
        fail()
    assert contents(tmp_path) == {"x/mine1": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_the_name_is_never_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks during the step finds the old or the new one: the old one is never moved aside."""
    write(tmp_path / "x", mine1="old")
    failing_rename(monkeypatch, 2, AssertionError("moved aside"))
    write(tmp_path / "x", mine1="new")
    assert contents(tmp_path) == {"x/mine1": "new"}


def test_files_are_on_the_disk_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x", mine1="old")
    done: list[str] = []

    def noted(descriptor: int, sync: Callable[[int], None] = os.fsync) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        sync(descriptor)

    def noted_exchange(one: Path, other: Path) -> bool:
        done.append("exchange")
        return exchange(one, other)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr("torchgraft.storage.atomic_folder.exchange", noted_exchange)
    write(tmp_path / "x", mine1="a", mine2="b")
    assert sorted(done[:2]) == ["mine1", "mine2"]
    assert done[2].endswith(".part")
    assert done[3:] == ["exchange", tmp_path.name]


@pytest.mark.parametrize(
    "name", ["новая модель", "a" * 255, "ü" * 127, "* [x]? {}", "-rm", "new\nline", "'\""]
)
def test_odd_names(name: str, tmp_path: Path) -> None:
    for text in ("old", "new"):
        write(tmp_path / name, mine1=text)
        with atomic_file(tmp_path / (name[:-1] + "f"), "w") as file:
            file.write(text)
    assert contents(tmp_path) == {f"{name}/mine1": "new", name[:-1] + "f": "new"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_this_process_works_in_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert can_replace(tmp_path / "absent")
    assert can_replace(tmp_path)
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert not can_replace(tmp_path)
    assert not can_replace(Path("/"))
    assert [p.name for p in tmp_path.iterdir()] == ["inner"]


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
