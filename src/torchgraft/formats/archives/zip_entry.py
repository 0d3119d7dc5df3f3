"""An entry of a zip archive: its bytes, where they are, and whether they are what the directory says."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from torchgraft.errors import CorruptCheckpointError
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.checksums import crc32_of
from torchgraft.storage.far_range import far_spans, is_far
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import Span

__all__ = ["DEFLATED", "LOCAL_SIZE", "STORED", "Entry", "damaged"]

STORED, DEFLATED = 0, 8
"""Methods of compression."""

_LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_SIZE = _LOCAL.size
"""Length of an entry's own header without its name and what may follow that."""

_SIZES_FOLLOW = 0x8
_USUAL_EXTRA = 4200  # alignment to pages, and a few fields
_PIECE = 1 << 16  # bytes that are inflated in one go
_NEAR = 1 << 16
"""Up to here into its data, an entry is read along with its own header."""


@dataclass(slots=True, eq=False)
class Entry:
    """An entry's bytes.

    Where its data begins is written in a header of its own, just before. In a file on this machine that is
    checked when the archive is opened, in a remote one when the entry is read: both come in one request.

    Attributes:
        file: The archive.
        name: The entry's name.
        header: Where its own header begins in the archive.
        header_size: How long that is, but for what it has in addition.
        room: How many bytes there are from the header to what follows the entry.
        stored: How many bytes its data takes.
        size: How many bytes it has.
        deflated: Whether it is compressed.
        crc: Its CRC-32; 0 where the writer was told not to compute it.
        verify: Its data is held against the checksum before it is given out.
    """

    file: ByteFile
    name: str
    header: int
    header_size: int
    room: int
    stored: int
    size: int
    deflated: bool
    crc: int
    verify: bool = False
    _offset: int = -1

    @property
    def offset(self) -> int:
        """Where its data begins in the archive.

        Raises:
            CorruptCheckpointError: Its own header is not what the directory says.
        """
        if self._offset < 0:
            self.learn_offset()
        return self._offset

    @property
    def far(self) -> Entry | None:
        """Itself, where parts of it can be asked for and that is worth while: as it is in a remote file."""
        return self if not self.deflated and is_far(self.file) else None

    def view(self) -> memoryview:
        """Its bytes: as they are in the file where they are stored so, inflated and checked otherwise."""
        raw = self.part(0, self.stored)
        if not self.deflated:
            return raw
        where = f"{self.file.name}: {self.name}"
        try:
            data, ended = _inflated(raw, self.size)
        except zlib.error as error:
            raise CorruptCheckpointError(f"the entry can't be decompressed: {error}", where=where) from error
        if len(data) != self.size or not ended or zlib.crc32(data) != self.crc:
            raise CorruptCheckpointError("the entry is not what its size and checksum say", where=where)
        return memoryview(data)

    def part(self, begin: int, length: int) -> memoryview:
        """Some of its stored bytes. The first time, all of them are held against the checksum if wanted."""
        if self.verify:
            with prefetched(self.spans(begin, length)):  # remote bytes come once, not for each of the two
                self._verify()
                return self._stored_part(begin, length)
        return self._stored_part(begin, length)

    def _stored_part(self, begin: int, length: int) -> memoryview:
        if self._offset < 0 and begin <= _NEAR:
            both = self.file.view(self.header, self._reach(begin + length))
            self.check_header(bytes(both[: self.header_size]))
            at = self._offset - self.header + begin
            if at + length <= len(both):
                return both[at : at + length]
        return self.file.view(self.offset + begin, length)

    def spans(self, begin: int, length: int) -> tuple[Span, ...]:
        """The bytes that `part` will ask for in a remote file; nothing of one on this machine."""
        file = self.file
        if self.verify:
            begin, length = 0, self.stored
        if self._offset >= 0:
            return far_spans(file, self._offset + begin, length)
        if begin <= _NEAR:
            return far_spans(file, self.header, self._reach(begin + length))
        data = self.header_size + begin  # or later, by what its header has in addition
        reach = self._reach(begin + length) - data
        return far_spans(file, self.header, self.header_size) + far_spans(file, self.header + data, reach)

    def check_header(self, header: bytes) -> None:
        """Learn from its own header where its data begins, when that agrees with the directory.

        Raises:
            CorruptCheckpointError: It does not.
        """
        magic, _, flags, method, _, _, _, stored, size, name_size, extra_size = _LOCAL.unpack_from(header)
        data = self.header_size + extra_size
        same = (
            magic == b"PK\x03\x04"
            and method == (DEFLATED if self.deflated else STORED)
            and name_size == self.header_size - _LOCAL.size
            and header[_LOCAL.size :] == self.name.encode()
            and (stored in (self.stored, 0xFFFFFFFF) or (flags & _SIZES_FOLLOW and not stored))
            and (size in (self.size, 0xFFFFFFFF) or (flags & _SIZES_FOLLOW and not size))
        )
        if not same or data + self.stored > self.room:
            raise damaged(self.file, f"entry {self.name[:200]!r} is not what the directory says")
        self._offset = self.header + data

    def learn_offset(self) -> None:
        """Read its own header; see `check_header`."""
        self.check_header(bytes(self.file.data[self.header : self.header + self.header_size]))

    def _verify(self) -> None:
        """Once: what was given out may be written to."""
        # Inflated data is checked anyway, and 0 stands for "not computed", torch.save's option.
        if not self.deflated and self.crc and crc32_of(self.file, self.offset, self.stored) != self.crc:
            raise CorruptCheckpointError(
                "the entry is not what its checksum says",
                where=f"{self.file.name}: {self.name[:200]}",
                hint="download or save it again",
            )
        self.verify = False

    def _reach(self, length: int) -> int:
        """Bytes from its header on that hold so many of its data, as archives are commonly written."""
        return min(self.header_size + _USUAL_EXTRA + length, self.room)


def _inflated(raw: memoryview, size: int) -> tuple[bytearray, bool]:
    """The bytes, or a few more than `size`, and whether they end there. They are held once, not twice."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = bytearray()
    for at in range(0, len(raw), _PIECE):
        piece: memoryview | bytes = raw[at : at + _PIECE]
        while piece and not inflater.eof and len(data) <= size:
            data += inflater.decompress(piece, 1 << 20)
            piece = inflater.unconsumed_tail
    if len(data) <= size:
        data += inflater.flush()
    return data, inflater.eof


def damaged(file: ByteFile, what: str) -> CorruptCheckpointError:
    """The error for an archive that contradicts itself."""
    return CorruptCheckpointError(
        f"the zip archive is truncated or damaged: {what}",
        where=file.name,
        hint="download or save it again",
    )
