"""Compressed entries are inflated once for several reads, and not kept without bound."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from torchgraft.formats import read_container
from torchgraft.formats.archives.inflated import Inflated
from torchgraft.formats.archives.zip_directory import Entry, read_directory
from torchgraft.storage.local import MappedFile


@pytest.fixture
def inflations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the entries that were inflated since."""
    names: list[str] = []
    view = Entry.view

    @functools.wraps(view)
    def counted(entry: Entry) -> memoryview:
        if entry.deflated:
            names.append(entry.name)
        return view(entry)

    monkeypatch.setattr(Entry, "view", counted)
    return names


def deflated(tree: object, path: Path) -> Path:
    torch.save(tree, path)
    made = path.with_name("deflated.pth")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return made


def test_an_entry_is_inflated_once_and_only_when_it_is_read(tmp_path: Path, inflations: list[str]) -> None:
    shared = torch.arange(40.0)
    made = {"a": shared[:20], "b": shared[20:], "c": torch.ones(5)}
    tree: Any = read_container(deflated(made, tmp_path / "x")).tree
    assert not [name for name in inflations if "/data/" in name]
    for _ in range(3):
        assert torch.equal(tree["a"][3:5], made["a"][3:5])
        assert torch.equal(tree["b"].read(), made["b"])
    assert [name for name in inflations if "/data/" in name] == ["x/data/0"]
    assert torch.equal(tree["c"].read(), made["c"])
    assert inflations.count("x/data/1") == 1


def test_not_everything_is_kept(tmp_path: Path, inflations: list[str]) -> None:
    made = [torch.full((1000,), float(value)) for value in range(4)]
    entries = read_directory(MappedFile(deflated(made, tmp_path / "x")))
    kept = Inflated(10_000)
    view = lambda number: kept.view(entries[f"x/data/{number}"])  # noqa: E731
    for number in (0, 1, 0, 2, 0, 1):  # two fit; those that were used last stay
        assert bytes(view(number)) == made[number].numpy().tobytes()
    assert inflations == ["x/data/0", "x/data/1", "x/data/2", "x/data/1"]


def test_an_entry_beyond_the_bound_is_kept_until_the_next(tmp_path: Path, inflations: list[str]) -> None:
    entries = read_directory(MappedFile(deflated([torch.zeros(1000), torch.ones(10)], tmp_path / "x")))
    kept = Inflated(100)
    for number in (0, 0, 1, 1, 0):
        kept.view(entries[f"x/data/{number}"])
    assert inflations == ["x/data/0", "x/data/1", "x/data/0"]
