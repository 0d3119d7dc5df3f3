"""Blocks of an HDF5 file's metadata, and the fields in them. Nothing reads beyond a block, or for ever."""

from __future__ import annotations

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.hdf5.lookup3 import lookup3
from torchgraft.storage.byte_file import ByteFile, is_verified

__all__ = ["Blocks", "Fields"]

_READS = 2
_SLACK = 1 << 20
"""An honest file's metadata is read about once. What shares its blocks endlessly is read until this is
spent: twice the file's size and a megabyte; once more the size where checksums are computed."""

_MAX_CHUNKS = 250_000  # at some 600 bytes of memory each

_UNDEFINED = (1 << 64) - 1
_AGAIN = "download or save it again"
_ELSEWHERE = "no Keras model is saved like this: get the file from a source that you trust"


class Blocks:
    """The file's bytes at addresses, which count from the superblock.

    Args:
        file: The file.
        base: Where its superblock is.

    Attributes:
        place: The path in the file of the object that is being read, for messages.
        known: What has been made of bytes that are in the file over and over.
    """

    __slots__ = ("_chunks_left", "_left", "_verified", "base", "file", "known", "place")

    def __init__(self, file: ByteFile, base: int) -> None:
        self.file = file
        self.base = base
        self.place = "/"
        self.known: dict[bytes, object] = {}
        self._chunks_left = _MAX_CHUNKS
        self._verified = is_verified(file)
        self._left = (_READS + self._verified) * file.size + _SLACK

    def read(self, address: int, length: int) -> bytes:
        """A copy of some bytes. Raises `CheckpointError` when they are not there, or the budget is spent."""
        self.spend(length)
        if address < 0 or self.base + address + length > self.file.size:
            raise self.corrupt(f"{length} bytes at {address} are wanted, but the file ends before")
        return bytes(self.file.view(self.base + address, length))

    def fields(self, address: int, length: int, signature: bytes = b"") -> Fields:
        """A block as fields, behind its signature, which is checked."""
        fields = Fields(self, self.read(address, length))
        if fields.take(len(signature)) != signature:
            raise self.corrupt(f"no {signature.decode()} block is at {address}")
        return fields

    def verify(self, address: int, length: int, *, without: int | None = None) -> None:
        """Hold a block against the checksum that follows it, if that is wanted: only newer metadata have one.

        Args:
            address: Where it begins.
            length: Its bytes, without the checksum.
            without: Where in the block the checksum is, if it is not behind it; it counts as zero there.

        Raises:
            CorruptCheckpointError: It is not what its checksum says.
        """
        if not self._verified:
            return
        if without is None:
            block = self.read(address, length + 4)
            block, stored = block[:length], block[length:]
        else:
            block = self.read(address, length)
            stored = block[without : without + 4]
            block = block[:without] + bytes(4) + block[without + 4 :]
        if lookup3(block) != int.from_bytes(stored, "little"):
            raise self.corrupt(f"the {length} bytes at {address} are not what their checksum says")

    def spend(self, work: int) -> None:
        """Count work that the file makes us do, in bytes."""
        self._left -= work
        if self._left < 0:
            raise self.unsafe(
                "its parts refer to each other over and over, or are countless empty ones: reading them "
                "would not end"
            )

    def spend_chunks(self, count: int) -> None:
        """Count chunks of datasets, each of which takes memory."""
        self._chunks_left -= count
        if self._chunks_left < 0:
            raise self.unsafe(
                f"its arrays are cut into more than {_MAX_CHUNKS:,} chunks",
                hint="write them in larger chunks, or in one piece",
            )

    def corrupt(self, what: str) -> CorruptCheckpointError:
        """The error for a file that contradicts itself."""
        return CorruptCheckpointError(what, where=self.where, hint=_AGAIN)

    def shorter(self) -> CorruptCheckpointError:
        """The error for a block that ends before what is in it."""
        return self.corrupt("one of its parts is shorter than what it should hold")

    def unsafe(self, what: str, hint: str = _ELSEWHERE) -> UnsafeCheckpointError:
        """The error for a file that is not to be trusted."""
        return UnsafeCheckpointError(what, where=self.where, hint=hint)

    def unsupported(self, what: str) -> CorruptCheckpointError:
        """The error for what HDF5 knows and this reader doesn't."""
        hint = 'copy its arrays to a new file with h5py: out["name"] = file["name"][()]'
        return CorruptCheckpointError(f"{what}, which is not supported", where=self.where, hint=hint)

    @property
    def where(self) -> str:
        """The file and the object."""
        return f"{self.file.name}: {self.place[:500]}"


class Fields:
    """A block, read field by field; numbers are little-endian."""

    __slots__ = ("at", "blocks", "data")

    def __init__(self, blocks: Blocks, data: bytes) -> None:
        self.blocks = blocks
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        """The next bytes."""
        end = self.at + length
        if length < 0 or end > len(self.data):
            raise self.blocks.shorter()
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, length: int) -> int:
        """The next bytes as a number without sign."""
        return int.from_bytes(self.take(length), "little")

    def size(self) -> int:
        """The next 8 bytes as a number."""
        return int.from_bytes(self.take(8), "little")

    def address(self) -> int | None:
        """The next 8 bytes as an address; `None` where none is given."""
        value = self.size()
        return None if value == _UNDEFINED else value

    def text(self, *, padded: bool = False) -> bytes:
        """The bytes up to the next zero byte, which is passed over; with `padded`, up to a multiple of 8."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self.blocks.corrupt("a name in it does not end")
        found = self.data[self.at : end]
        length = end + 1 - self.at
        self.take(-(-length // 8) * 8 if padded else length)
        return found

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return len(self.data) - self.at
