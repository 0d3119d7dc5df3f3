"""A zip archive's entries by name, in columns: an `Entry` is made of one when it is asked for.

A checkpoint of 100,000 tensors has as many entries, of which opening it needs the sizes alone. Records that
are written alike, as `torch.save` and NumPy write them, are read and checked many at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from operator import add, le, lt, sub

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.archives.alike_records import column, next_alike
from torchgraft.formats.archives.zip_entry import LOCAL_SIZE, Entry
from torchgraft.storage.byte_file import ByteFile, is_verified
from torchgraft.storage.far_range import is_far

__all__ = ["ZipTable"]

_AT_ONCE = 1024
_SIZES_FOLLOW = 0x8
_ENCRYPTED = 0x1
_TOO_LARGE = 0xFFFFFFFF
_NEAR = 1024
"""Bytes from one entry to the next, on average, up to which what lies between is read too."""


class ZipTable(Mapping[str, Entry]):
    """The entries of an archive, in the directory's order.

    Args:
        file: The archive.
    """

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._numbers: dict[str, int] = {}
        self._made: dict[str, Entry] = {}
        self._verify = is_verified(file)
        self.names: list[str] = []
        self._headers, self._header_sizes = array("Q"), array("Q")
        self._stored, self._sizes, self._crcs = array("Q"), array("Q"), array("Q")
        self._offsets = array("q")
        self._rooms: Sequence[int] = ()
        self._deflated: set[str] = set()

    def __getitem__(self, name: str) -> Entry:
        made = self._made.get(name)
        if made is None:
            at = self._numbers[name]
            made = self._made[name] = self._entry(at)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, name: str) -> int:
        """The entry's number in the directory. Raises `KeyError`."""
        return self._numbers[name]

    def in_a_row(self, names: Sequence[str]) -> range | None:
        """The numbers of these entries if they follow one another, one for each name."""
        first = self._numbers.get(names[0])
        if first is None or self.names[first : first + len(names)] != names:
            return None
        return range(first, first + len(names))

    def sizes(self, names: Sequence[str]) -> list[int]:
        """How many bytes those entries have. Raises `KeyError`."""
        return list(map(self._sizes.__getitem__, map(self._numbers.__getitem__, names)))

    def sizes_of(self, numbers: range) -> list[int]:
        """The same of entries in a row."""
        return self._sizes[numbers.start : numbers.stop].tolist()

    def add(
        self, name: str, header: int, header_size: int, stored: int, size: int, crc: int, *, deflated: bool
    ) -> None:
        """One more entry; see `Entry`."""
        self.names.append(name)
        self._headers.append(header)
        self._header_sizes.append(header_size)
        self._stored.append(stored)
        self._sizes.append(size)
        self._crcs.append(crc)
        if deflated:
            self._deflated.add(name)

    def add_alike(self, directory: bytes, at: int, most: int) -> int:
        """Add the next few entries, if they are stored and described in the plainest way; where they end.

        Those that are not are left to be read one by one. There are to be `most` in all.
        """
        found = next_alike(directory, at)
        if found is None:
            return at
        block, width, names, lengths, end = found
        stored, headers = column(block, width, 20, "I"), column(block, width, 42, "I")
        plain = (
            not any(flags & _ENCRYPTED for flags in set(block[8::width]))
            and not any(column(block, width, 10, "H"))
            and not any(block[30::width])  # nothing after the name, on the first volume
            and not any(block[31::width])
            and not any(column(block, width, 32, "I"))
            and column(block, width, 24, "I") == stored
            and column(block, width, 28, "H") == lengths
            and _TOO_LARGE not in stored
            and _TOO_LARGE not in headers
            and max(map(add, headers, stored)) + LOCAL_SIZE + max(lengths) <= self._file.size
        )
        if not plain or len(self.names) + len(lengths) > most:
            return at
        self.names += names.decode("ascii").split(" ")
        self._headers.extend(headers)
        self._header_sizes.extend(map(LOCAL_SIZE.__add__, lengths))
        self._stored.extend(stored)
        self._sizes.extend(stored)
        self._crcs.extend(column(block, width, 16, "I"))
        return end

    def finish(self, end: int) -> None:
        """Hold the entries against each other and against their own headers, now that all are known.

        Args:
            end: Where the last one's data must have ended.

        Raises:
            CorruptCheckpointError: An entry's own header is not what the directory says.
            UnsafeCheckpointError: Two share a name, or overlap.
        """
        names, where = self.names, self._file.name
        self._numbers = dict(zip(names, range(len(names)), strict=True))
        if len(self._numbers) < len(names):
            double = next(name for number, name in enumerate(names) if self._numbers[name] != number)
            raise UnsafeCheckpointError(f"two entries are called {double[:200]!r}", where=where)
        headers = self._headers
        if all(map(lt, headers, islice(headers, 1, None))):
            self._rooms = array("q", map(sub, chain(islice(headers, 1, None), (end,)), headers))
        else:
            rooms, after = array("q", bytes(8 * len(names))), end
            for number in sorted(range(len(names)), key=headers.__getitem__, reverse=True):
                rooms[number], after = after - headers[number], headers[number]
            self._rooms = rooms
        taken = map(add, self._header_sizes, self._stored)
        overlaps = next((number for number, fits in enumerate(map(le, taken, self._rooms)) if not fits), None)
        if overlaps is not None:
            raise UnsafeCheckpointError(
                f"entry {names[overlaps][:200]!r} overlaps with what follows it", where=where
            )
        self._offsets = array("q", [-1]) * len(names)
        if not is_far(self._file):
            for first in range(0, len(names), _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, len(names)))
                if not self._are_as_told(numbers):
                    for number in numbers:
                        self[names[number]].learn_offset()

    def _are_as_told(self, numbers: range) -> bool:
        """Whether these entries' own headers say in the plainest way what the directory says."""
        part = slice(numbers.start, numbers.stop)
        headers, sizes, stored = self._headers[part], self._header_sizes[part], self._stored[part]
        names = self.names[part]
        data, size = self._file.data, sizes[0]
        ends = array("Q", map(add, headers, sizes))
        first = min(headers)
        if (reach := max(ends) - first) <= _NEAR * len(names):
            data = bytes(data[first : first + reach])  # small entries: parts of bytes are had faster
        else:
            first = 0
        parts = [data[header - first : end - first] for header, end in zip(headers, ends, strict=True)]
        texts = "".join(names).encode()
        if sizes.count(size) == len(names):  # as long as another: compared letter by letter, of all at once
            block, width, length = b"".join(parts), size, size - LOCAL_SIZE
            named = len(texts) == length * len(names) and all(
                block[LOCAL_SIZE + letter :: width] == texts[letter::length] for letter in range(length)
            )
        else:
            block, width = b"".join([part[:LOCAL_SIZE] for part in parts]), LOCAL_SIZE
            named = b"".join([part[LOCAL_SIZE:] for part in parts]) == texts
        told = column(block, width, 18, "I")
        later = not any(told)  # their sizes follow their data
        if (
            not named
            or len(block) != width * len(names)
            or block[0::width] + block[1::width] != b"P" * len(names) + b"K" * len(names)
            or block[2::width] + block[3::width] != b"\3" * len(names) + b"\4" * len(names)
            or not self._deflated.isdisjoint(names)
            or any(column(block, width, 8, "H"))
            or [size + LOCAL_SIZE for size in column(block, width, 26, "H")] != sizes.tolist()
            or column(block, width, 22, "I") != told
            or (not all(flags & _SIZES_FOLLOW for flags in set(block[6::width])) if later else False)
            or (not later and told != stored.tolist())
        ):
            return False
        offsets = array("q", map(add, ends, column(block, width, 28, "H")))
        rooms_end = map(add, headers, self._rooms[part])
        if not all(map(le, map(add, offsets, stored), rooms_end)):
            return False
        self._offsets[part] = offsets
        return True

    def _entry(self, at: int) -> Entry:
        name = self.names[at]
        entry = Entry(
            self._file,
            name,
            self._headers[at],
            self._header_sizes[at],
            self._rooms[at],
            self._stored[at],
            self._sizes[at],
            name in self._deflated,
            self._crcs[at],
            self._verify,
        )
        return replace(entry, _offset=self._offsets[at]) if self._offsets[at] >= 0 else entry
