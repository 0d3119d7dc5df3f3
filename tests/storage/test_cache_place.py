"""Each address has a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchgraft.errors import FetchError
from torchgraft.storage.cache_place import Place, cache_folder, torch_hub_folder


def test_two_addresses_have_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path))
    urls = ["https://a/x.pth", "https://b/x.pth", "https://a/x.pth?v=2", "https://a/y/x.pth"]
    places = [Place.of(url) for url in urls]
    assert len({place.file for place in places}) == 4
    assert {place.name for place in places} == {"x.pth"}
    assert Place.of(urls[0]) == places[0]
    assert len({places[0].file, places[0].record, places[0].part, places[0].note, places[0].lock}) == 5


@pytest.mark.parametrize(
    "url",
    ["https://a/", "https://a", "https://a/..", "https://a/%2e%2e", "https://a/.part", "https://a/.record.json",
     "https://a/x%00y", "https://[/x"],
)  # fmt: skip
def test_addresses_that_name_no_file(url: str) -> None:
    with pytest.raises(FetchError):
        Place.of(url)


@pytest.mark.parametrize("url", ["https://a/b%2Fc.pth", "https://a/..%2F..%2Fc.pth", "https://a/b/c.pth/"])
def test_a_name_stays_in_its_folder(url: str) -> None:
    assert Place.of(url).name == "c.pth"


def test_a_place_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path))
    place = Place.of("https://a/x.pth")
    place.folder.mkdir()
    assert Place.at(place.folder) is None
    (place.folder / ".record.json.12.new").touch()
    assert Place.at(place.folder) is None
    place.file.touch()
    assert Place.at(place.folder) == place


def test_which_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHGRAFT_CACHE", raising=False)
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "torchgraft"
    assert torch_hub_folder() == tmp_path / "torch" / "hub" / "checkpoints"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "t"))
    assert torch_hub_folder() == tmp_path / "t" / "hub" / "checkpoints"
