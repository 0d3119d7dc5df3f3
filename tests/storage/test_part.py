"""A part of a file behaves as a file of its own, and shows nothing of what is around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchgraft.errors import CorruptCheckpointError
from torchgraft.storage.local import MappedFile
from torchgraft.storage.part import FilePart

BYTES = bytes(range(256)) * 600  # more than two of the windows that `find` looks through


@pytest.fixture
def whole(tmp_path: Path) -> MappedFile:
    (tmp_path / "x").write_bytes(BYTES)
    return MappedFile(tmp_path / "x")


def test_it_is_named_after_the_file_and_has_no_path(whole: MappedFile) -> None:
    part = FilePart(whole, 10, 20, "blob")
    assert (part.name, part.path, part.size, len(part.data)) == (f"{whole.path}: blob", None, 20, 20)


@pytest.mark.parametrize(
    "place",
    [slice(None), slice(2, 5), slice(5, 2), slice(-3, None), slice(0, 99), slice(15, 99), slice(50, 60)],
)
def test_slices_are_the_parts(place: slice, whole: MappedFile) -> None:
    assert FilePart(whole, 10, 20, "blob").data[place] == BYTES[10:30][place]


@pytest.mark.parametrize("place", [0, 7, 19, -1, -20])
def test_numbers_are_the_parts(place: int, whole: MappedFile) -> None:
    assert FilePart(whole, 10, 20, "blob").data[place] == BYTES[10:30][place]


@pytest.mark.parametrize("place", [20, -21, 1 << 70])
def test_no_number_is_outside(place: int, whole: MappedFile) -> None:
    with pytest.raises(IndexError):
        FilePart(whole, 10, 20, "blob").data[place]


@pytest.mark.parametrize(
    ("needle", "start"),
    [
        (b"\x0a", 0),
        (b"\x1d", 0),
        (b"\x1e", 0),
        (b"\x09\x0a", 0),
        (b"\x1d\x1e", 0),
        (b"\x0b", 1),
        (b"\x0b", 2),
    ],
)
def test_find_ends_where_the_part_ends(needle: bytes, start: int, whole: MappedFile) -> None:
    assert FilePart(whole, 10, 20, "blob").data.find(needle, start) == BYTES[10:30].find(needle, start)


@pytest.mark.parametrize("at", [65_535, 65_536, 65_530, 131_071, 149_990])
def test_find_across_windows(at: int, tmp_path: Path) -> None:
    (tmp_path / "y").write_bytes(bytes(3 + at) + b"needle" + bytes(1000))
    part = FilePart(MappedFile(tmp_path / "y"), 3, at + 500, "blob")
    assert part.data.find(b"needle", 0) == at
    assert part.data.find(b"needle", at + 1) == -1


@pytest.mark.parametrize(("offset", "length"), [(0, 20), (5, 0), (20, 0), (19, 1)])
def test_views(offset: int, length: int, whole: MappedFile) -> None:
    view = FilePart(whole, 10, 20, "blob").view(offset, length)
    assert bytes(view) == BYTES[10 + offset : 10 + offset + length]


@pytest.mark.parametrize(("offset", "length"), [(0, 21), (20, 1), (-1, 5), (5, -1), (1 << 70, 1)])
def test_no_view_is_outside(offset: int, length: int, whole: MappedFile) -> None:
    with pytest.raises(CorruptCheckpointError, match="blob"):
        FilePart(whole, 10, 20, "blob").view(offset, length)


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, len(BYTES) + 1), (len(BYTES), 1), (5, -1)])
def test_a_part_lies_in_its_file(offset: int, length: int, whole: MappedFile) -> None:
    with pytest.raises(CorruptCheckpointError, match="blob"):
        FilePart(whole, offset, length, "blob")
