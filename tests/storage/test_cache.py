"""The cache's list, its check and its cleaning; other programs' caches are left alone."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from torchgraft.storage.cache import cached_files, prune_cache, verify_cache
from torchgraft.storage.cache_place import Place, cache_folder
from torchgraft.storage.cache_record import Record, read_record, write_record

BODY = b"weights" * 10
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(name: str, *, days: float = 0, elsewhere: Path | None = None) -> Place:
    """A file that was fetched some days ago."""
    url = f"https://example.org/{name}"
    place = Place.of(url)
    path = elsewhere or place.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(BODY)
    write_record(place, Record.of(url, place, path, SHA256))
    used = time.time() - 86_400 * days
    os.utime(place.record, (used, used))
    return place


def broken(name: str) -> Place:
    """A download that broke."""
    place = Place.of(f"https://example.org/{name}")
    place.folder.mkdir(parents=True, exist_ok=True)
    place.part.write_bytes(BODY[:5])
    place.note.write_text('{"url": "https://example.org/' + name + '"}')
    return place


def states() -> dict[str, str]:
    return {file.path.name: file.state for file in cached_files()}


def test_no_cache() -> None:
    assert cached_files() == verify_cache() == prune_cache() == []


def test_the_list(tmp_path: Path) -> None:
    kept("new.pth")
    kept("old.pth", days=5)
    kept("hub.pth", days=9, elsewhere=tmp_path / "torch" / "hub.pth")
    kept("gone.pth", days=10).file.unlink()
    kept("changed.pth", days=11).file.write_bytes(b"other")
    by_hand = Place.of("https://example.org/by-hand.pth")
    by_hand.folder.mkdir()
    by_hand.file.write_bytes(BODY)
    os.utime(by_hand.file, (1, 1))
    broken("broken.pth")
    (cache_folder() / "note.txt").write_text("not ours")
    files = cached_files()
    assert [file.path.name for file in files][-5:] == [
        "old.pth",
        "hub.pth",
        "gone.pth",
        "changed.pth",
        "by-hand.pth",
    ]
    found = {(file.path.name, file.state, file.size, file.ours) for file in files}
    assert found == {
        ("new.pth", "whole", 70, True),
        ("old.pth", "whole", 70, True),
        ("hub.pth", "whole", 70, False),
        ("gone.pth", "gone", 0, True),
        ("changed.pth", "unchecked", 5, True),
        ("by-hand.pth", "unchecked", 70, True),
        (".part", "partial", 5, True),
    }
    assert {file.url for file in files if file.state == "partial"} == {"https://example.org/broken.pth"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"path": "x"}', "[" * 100_000])
def test_a_record_that_is_damaged_is_as_none(text: str) -> None:
    place = kept("a.pth")
    place.record.write_text(text)
    assert read_record(place) is None
    assert states() == {"a.pth": "unchecked"}


def test_damage_that_no_length_or_time_tells(tmp_path: Path) -> None:
    """As a disk makes it."""
    mine, theirs = kept("mine.pth", days=3), kept("hub.pth", elsewhere=tmp_path / "torch" / "hub.pth")
    whole = kept("whole.pth", days=4)
    for path in (mine.file, tmp_path / "torch" / "hub.pth"):
        status = path.stat()
        path.write_bytes(BODY[:-1] + b"?")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    used = whole.record.stat().st_mtime
    told: list[str] = []
    checked = verify_cache(lambda file: told.append(file.path.name))
    assert {file.path.name: file.state for file in checked} == {
        "mine.pth": "damaged",
        "hub.pth": "damaged",
        "whole.pth": "whole",
    }
    assert sorted(told) == ["hub.pth", "mine.pth", "whole.pth"]
    assert not mine.file.exists()
    assert (tmp_path / "torch" / "hub.pth").exists()  # another program's; it is only not used any more
    assert read_record(theirs) is None
    assert states() == {"whole.pth": "whole"}
    assert whole.record.stat().st_mtime == pytest.approx(used)


@pytest.mark.parametrize(("name", "state"), [(f"a-{SHA256[:8]}.pth", "whole"), ("a-00000000.pth", "damaged")])
def test_a_file_put_there_by_hand_is_held_against_its_name(name: str, state: str) -> None:
    place = Place.of(f"https://example.org/{name}")
    place.folder.mkdir(parents=True)
    place.file.write_bytes(BODY)
    assert [file.state for file in verify_cache()] == [state]
    assert place.file.exists() == (state == "whole")


@pytest.mark.parametrize(
    ("how", "gone"),
    [
        ({}, {".part", "lost.pth"}),
        ({"older_than": 30}, {".part", "lost.pth", "old.pth", "hub.pth"}),
        ({"everything": True}, {".part", "lost.pth", "old.pth", "hub.pth", "new.pth"}),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_cleaning(how: dict[str, float], gone: set[str], dry_run: bool, tmp_path: Path, cache: Path) -> None:
    kept("new.pth")
    kept("old.pth", days=31)
    kept("hub.pth", days=31, elsewhere=tmp_path / "torch" / "hub.pth")
    kept("lost.pth").file.unlink()
    broken("broken.pth")
    before = states()
    removed = prune_cache(**how, dry_run=dry_run)  # type: ignore[arg-type]
    assert {file.path.name for file in removed} == gone
    assert states().keys() == before.keys() - (set() if dry_run else gone)
    assert (tmp_path / "torch" / "hub.pth").exists()
    if how == {"everything": True} and not dry_run:
        assert {path.name for path in cache.iterdir()} == {"locks"}


def test_a_download_that_goes_on_is_left_alone() -> None:
    place = broken("broken.pth")
    place.lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.lock):
        assert prune_cache(everything=True) == []
        assert [file.state for file in verify_cache()] == ["partial"]
    assert place.part.exists()
    assert [file.state for file in prune_cache()] == ["partial"]
