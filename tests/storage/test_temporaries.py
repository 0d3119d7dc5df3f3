"""What killed processes left is removed by the next save, and what living ones write is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from torchgraft.storage import temporaries
from torchgraft.storage.atomic import atomic_file
from torchgraft.storage.atomic_folder import atomic_folder
from torchgraft.storage.temporaries import hold, remove_if_dead, sweep

WRITING = """
import sys
from torchgraft.storage.atomic import atomic_file
from torchgraft.storage.atomic_folder import atomic_folder
with atomic_file(sys.argv[1] + "/x") as file, atomic_folder(sys.argv[1] + "/y", mine=bool) as folder:
    file.write(b"half")
    (folder / "half").touch()
    print("writing", flush=True)
    sys.stdin.read()
"""


def save_both(folder: Path) -> None:
    with atomic_file(folder / "x") as file:
        file.write(b"whole")
    with atomic_folder(folder / "y", mine=bool) as inner:
        (inner / "whole").touch()


def test_of_dead_processes_and_of_living_ones(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        living = set(tmp_path.iterdir())
        assert len(living) == 2
        save_both(tmp_path)
        assert set(tmp_path.iterdir()) == {*living, tmp_path / "x", tmp_path / "y"}
        process.send_signal(signal.SIGKILL)
    assert set(tmp_path.iterdir()) == {*living, tmp_path / "x", tmp_path / "y"}
    save_both(tmp_path)
    assert set(tmp_path.iterdir()) == {tmp_path / "x", tmp_path / "y"}


def test_a_finished_save_holds_nothing(tmp_path: Path) -> None:
    save_both(tmp_path)
    for name in ("x", "y"):
        with hold(tmp_path / name) as free:
            assert free


@pytest.mark.parametrize(("age", "stays"), [(3600, True), (2 * 24 * 3600, False)])
def test_of_other_machines_only_what_is_old(
    age: int, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporaries, "_machine", lambda: "0123abcd")
    descriptor, path = temporaries.new_file(tmp_path / "x")
    os.close(descriptor)
    monkeypatch.undo()
    assert path.name.startswith(".x.0123abcd-")
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    sweep(tmp_path / "x")
    assert path.exists() is stays


@pytest.mark.parametrize("name", [".x.part", ".x.abc-12345678.part", ".xy.01234567-abcdefgh.part", "x.part"])
def test_files_of_others_stay(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    sweep(tmp_path / "x")
    assert (tmp_path / name).exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "dear").mkdir()
    (tmp_path / "dear" / "file").touch()
    (tmp_path / "link").symlink_to("dear")
    remove_if_dead(tmp_path / "link")
    assert (tmp_path / "dear" / "file").exists()


def test_a_temporary_that_is_taken_for_a_left_over_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = temporaries._lock, []

    def stolen(descriptor: int) -> bool:
        if not taken:
            taken.append(next(tmp_path.iterdir()))
            taken[0].unlink()
        return lock(descriptor)

    monkeypatch.setattr(temporaries, "_lock", stolen)
    with atomic_file(tmp_path / "x") as file:
        file.write(b"whole")
    assert taken
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
