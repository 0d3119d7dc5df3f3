"""Pooled files: as mapped ones, but however many there are, only some are open."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.storage.pooled import MappingPool, PooledFile


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = [tmp_path / str(number) for number in range(9)]
    for number, path in enumerate(made):
        path.write_bytes(bytes([number]) * 10)
    return made


def open_files() -> int:
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.is_dir() else 0


def test_each_gives_its_own_bytes_again_and_again(paths: list[Path]) -> None:
    before = open_files()
    pool = MappingPool(limit=2)
    files = [PooledFile(path, pool) for path in paths]
    for _ in range(2):
        for number, file in enumerate(files):
            assert bytes(file.view(2, 3)) == file.data[2:5] == bytes([number]) * 3
            assert (file.size, file.path, file.name) == (10, paths[number], str(paths[number]))
    assert open_files() <= before + 2


def test_a_view_outlives_its_mapping(paths: list[Path]) -> None:
    pool = MappingPool(limit=1)
    view = PooledFile(paths[3], pool).view(0, 10)
    for path in paths:
        PooledFile(path, pool).view(0, 1)
    assert bytes(view) == bytes([3]) * 10


@pytest.mark.parametrize("how", ["replaced", "longer", "gone"])
def test_a_file_that_changed_is_refused_every_time(how: str, paths: list[Path]) -> None:
    pool = MappingPool(limit=1)
    first = PooledFile(paths[0], pool)
    PooledFile(paths[1], pool)  # the first is no longer mapped
    if how == "replaced":
        (paths[0].parent / "new").write_bytes(bytes(10))
        (paths[0].parent / "new").replace(paths[0])
    elif how == "longer":
        paths[0].write_bytes(bytes(20))
    else:
        paths[0].unlink()
    for _ in range(2):
        with pytest.raises(CheckpointError, match=str(paths[0])):
            first.view(0, 1)
        with pytest.raises(CheckpointError, match=str(paths[0])):
            _ = first.data


def test_a_view_beyond_the_file_is_refused(paths: list[Path]) -> None:
    with pytest.raises(CorruptCheckpointError, match=str(paths[0])):
        PooledFile(paths[0], MappingPool()).view(5, 6)
