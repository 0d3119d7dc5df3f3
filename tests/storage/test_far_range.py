"""What lies in a remote file, however deep inside other files, is asked for of that file."""

from __future__ import annotations

from pathlib import Path

from torchgraft.storage.far_range import FarRange, far_spans, is_far
from torchgraft.storage.local import MappedFile
from torchgraft.storage.memory import MemoryFile
from torchgraft.storage.part import FilePart
from torchgraft.storage.prefetching import prefetched
from torchgraft.storage.remote_file import RemoteFile
from torchgraft.tensors import Span

CONTENT = bytes(range(256)) * 4000


class Ranges:
    """A remote file; notes what it is asked for."""

    name, size = "far://file", len(CONTENT)

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def read_into(self, offset: int, into: memoryview) -> None:
        self.asked.append((offset, len(into)))
        into[:] = CONTENT[offset : offset + len(into)]

    def check(self) -> None:
        pass


def test_parts_of_parts_are_asked_of_the_outermost_file() -> None:
    file = RemoteFile(Ranges())
    inner = FilePart(FilePart(file, 100, 900_000, "outer"), 50, 800_000, "inner")
    assert is_far(inner)
    assert far_spans(inner, 7, 20) == (Span(file, 157, 20),)
    part = FarRange.of(inner, 7)
    assert part is not None
    assert part.spans(3, 5) == (Span(file, 160, 5),)
    assert bytes(part.part(3, 5)) == CONTENT[160:165]


def test_parts_of_several_files_in_one_come_together() -> None:
    ranges = Ranges()
    file = RemoteFile(ranges)
    parts = [FilePart(file, 300_000 + number * 1_000, 1_000, f"part {number}") for number in range(50)]
    with prefetched(span for part in parts for span in far_spans(part, 0, 1_000)):
        assert ranges.asked == [(300_000, 50_000)]
        for number, part in enumerate(parts):
            begin = 300_000 + number * 1_000
            assert bytes(part.view(0, 1_000)) == CONTENT[begin : begin + 1_000]
            assert part.data[10:20] == CONTENT[begin + 10 : begin + 20]
        assert len(ranges.asked) == 1


def test_nothing_on_this_machine_is_far(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    local = MappedFile(tmp_path / "x")
    for file in (local, FilePart(local, 5, 100, "part"), MemoryFile("bytes", memoryview(bytearray(50)))):
        assert not is_far(file)
        assert far_spans(file, 1, 2) == ()
        assert FarRange.of(file, 1) is None
