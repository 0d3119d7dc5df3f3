"""Mapped files: the bytes are the file's, and what is no file is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.storage.local import MappedFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    return tmp_path / "x"


@pytest.mark.parametrize(("offset", "length"), [(0, 100), (0, 0), (100, 0), (7, 20), (99, 1)])
def test_a_view_is_the_files_bytes(offset: int, length: int, file: Path) -> None:
    mapped = MappedFile(file)
    assert mapped.size == 100
    assert bytes(mapped.view(offset, length)) == bytes(range(100))[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(0, 101), (101, 0), (-1, 5), (5, -1), (1 << 70, 1)])
def test_a_view_beyond_the_file_is_refused(offset: int, length: int, file: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match=str(file)):
        MappedFile(file).view(offset, length)


def test_writing_to_a_view_stays_in_memory(file: Path) -> None:
    mapped = MappedFile(file)
    mapped.view(0, 1)[0] = 255
    assert mapped.view(0, 1)[0] == 255
    assert file.read_bytes() == bytes(range(100))


def test_a_view_outlives_its_file_and_object(file: Path) -> None:
    view = MappedFile(file).view(10, 5)
    file.unlink()
    assert bytes(view) == bytes(range(10, 15))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "no such file"),
        (".", "this is a folder"),
        ("empty", "empty"),
        ("pipe", "a pipe"),
        ("a\0b", "opened"),
    ],
)
def test_what_is_no_file_is_told(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    if name == "pipe":
        if sys.platform == "win32":
            pytest.skip("no pipes in folders there")
        os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=message):
        MappedFile(tmp_path / name)


def test_a_folder_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError) as caught:
        MappedFile(tmp_path)
    assert "model.safetensors" in str(caught.value.hint)
