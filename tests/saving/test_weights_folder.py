"""A folder of weights changes as a whole: alone in its place, beside other files, while others read it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from torch import nn

import torchgraft as tg
from torchgraft import CheckpointError, SaveError

SHARDED = 200


def net(value: float) -> nn.Module:
    model = nn.Sequential(*(nn.Linear(5, 5) for _ in range(4)))
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def values(path: Path) -> set[float]:
    return {x for ref in tg.open(path).values() for x in ref.read().reshape(-1).tolist()}


def loaded(path: Path) -> set[float]:
    return {x for p in tg.load(path, model=net(-1)).parameters() for x in p.reshape(-1).tolist()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["alone", "beside", "no exchange"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder's path, and what else is to be minded."""
    folder = tmp_path / "out"
    if request.param == "beside":
        (folder / "more").mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
    if request.param == "no exchange":
        monkeypatch.setattr("torchgraft.storage.atomic_folder.exchange", lambda *_: False)
    return folder


@pytest.mark.parametrize("sizes", [(None, None), (SHARDED, SHARDED), (None, SHARDED), (SHARDED, None)])
def test_one_after_the_other(sizes: tuple[int | None, int | None], place: Path) -> None:
    mine = {p.name for p in place.iterdir()} if place.exists() else set()
    for value, size in enumerate(sizes * 2):
        tg.save(net(value), place, shard_size=size)
        assert values(place) == loaded(place) == {value}
    assert mine <= {p.name for p in place.iterdir()}
    assert [p.name for p in place.parent.iterdir()] == ["out"]
    one = {"model.safetensors"}
    several = {"model.safetensors.index.json"}
    weights = {p.name for p in place.iterdir()} - mine - {"torchgraft.json"}
    if sizes[1] is None:
        assert weights == one
    else:
        assert several < weights
        assert len(list(place.glob("weights-*"))) <= 1


@pytest.mark.parametrize("size", [None, SHARDED])
@pytest.mark.parametrize("fails", ["write", "fsync", "rename"])
def test_a_failure_leaves_the_old_one(
    fails: str, size: int | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tg.save(net(1), place, shard_size=size)
    before = contents(place.parent)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fails == "write":
        monkeypatch.setattr("torchgraft.saving.safetensors_file.SafetensorsFile.write", full)
    elif fails == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
        monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(SaveError, match="disk is full"):
        tg.save(net(2), place, shard_size=size)
    monkeypatch.undo()
    assert contents(place.parent) == before
    assert loaded(place) == {1}


@pytest.mark.parametrize("size", [None, SHARDED])
def test_where_this_process_works(size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    number = tmp_path.stat().st_ino
    for value in (1, 2):
        tg.save(net(value), ".", shard_size=size)
        assert loaded(Path()) == {value}
    assert tmp_path.stat().st_ino == number


@pytest.mark.parametrize("size", [None, SHARDED])
def test_a_link_to_a_folder_stays_one_also_to_another_disk(size: int | None, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere" / "real"
    there.parent.mkdir()
    link = tmp_path / "link"
    link.symlink_to(there)
    for value in (1, 2):  # at first it leads nowhere
        tg.save(net(value), link, shard_size=size)
        assert link.is_symlink()
        assert loaded(there) == {value}
    assert [p.name for p in there.parent.iterdir()] == ["real"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system")
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "folder"])
def test_temporaries_are_on_the_disk_of_the_target(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the folder for temporary files is; across disks nothing can be renamed."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        monkeypatch.setenv("TMPDIR", other)
        monkeypatch.setattr(tempfile, "tempdir", other)
        (tmp_path / "link").symlink_to(Path(other) / name)
        for value in (1, 2):
            tg.save(net(value), tmp_path / name)
            tg.save(net(value), tmp_path / "link" if "." not in name else Path(other) / name)
            assert values(tmp_path / name) == values(Path(other) / name) == {value}
        assert [p.name for p in Path(other).iterdir()] == [name]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["link", name])


SMALL_DISK = """
import sys
from pathlib import Path
import torch, torchgraft as tg
for name in ("x.safetensors", "x.pth", "folder", "shards"):
    size = 300_000 if name == "shards" else None
    path = Path(sys.argv[1]) / name
    tg.save({"a": torch.ones(60_000), "b": torch.ones(60_000)}, path, shard_size=size)
    try:
        tg.save({"a": torch.zeros(200_000), "b": torch.zeros(200_000)}, path, shard_size=size)
    except tg.SaveError as error:
        print(error.what)
    assert {x for ref in tg.open(path).values() for x in ref.read().tolist()} == {1}, name
    assert [p.name for p in Path(sys.argv[1]).iterdir()] == [name]
    if path.is_dir():
        __import__("shutil").rmtree(path)
    else:
        path.unlink()
"""


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A real one of 1 MB, in a name space of its own; where the system allows that to everybody."""
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o size=1m none {tmp_path}/disk"
    inner = ["unshare", "--map-root-user", "--user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*inner, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    (tmp_path / "script.py").write_text(SMALL_DISK)
    command = f"{mount} && {sys.executable} {tmp_path}/script.py {tmp_path}/disk"
    done = subprocess.run([*inner, command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the disk is full"] * 4


@pytest.mark.parametrize("size", [None, SHARDED])
def test_who_reads_meanwhile_sees_one_version_or_an_error(size: int | None, tmp_path: Path) -> None:
    tg.save(net(0), tmp_path / "out", shard_size=size)
    done = threading.Event()

    def save_on() -> None:
        for value in range(1, 60):
            tg.save(net(value), tmp_path / "out", shard_size=size)
        done.set()

    saving = threading.Thread(target=save_on)
    saving.start()
    seen: list[float] = []
    refused = 0
    while not done.is_set():
        try:
            found = values(tmp_path / "out")
        except CheckpointError:
            refused += 1
            continue
        assert len(found) == 1
        seen.append(found.pop())
    saving.join()
    assert seen == sorted(seen)
    assert values(tmp_path / "out") == {59}
    assert seen or refused
