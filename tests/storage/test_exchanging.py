"""Names change hands in one step, or not at all."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from torchgraft.storage.exchanging import exchange


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("neither this system nor this disk can")
    return tmp_path / "b", tmp_path / "a"


def test_folders(two: tuple[Path, Path]) -> None:
    assert [names(folder) for folder in two] == [["a"], ["b"]]
    assert exchange(*two)
    assert [names(folder) for folder in two] == [["b"], ["a"]]


def test_what_is_absent(two: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(two[0], two[1] / "absent")
    assert [names(folder) for folder in two] == [["a"], ["b"]]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_a_disk_that_cant(code: int, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "get_errno", lambda: code)
    assert not exchange(two[0], two[1] / "absent")


def test_a_system_that_cant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert not exchange(tmp_path / "a", tmp_path / "b")
