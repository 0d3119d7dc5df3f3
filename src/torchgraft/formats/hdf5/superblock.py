"""The superblock: where the file's addresses count from, and where its root group is."""

from __future__ import annotations

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.hdf5.blocks import Blocks
from torchgraft.storage.byte_file import ByteFile

__all__ = ["find_superblock", "read_superblock"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NEW_SIZE = 44
_PLACES = (0, 512, 1024, 2048)
"""Before it may be a block of the user's own, as large as a power of two. Larger ones are not looked for."""


def find_superblock(head: bytes) -> int | None:
    """Where it is in the first bytes of a file."""
    return next((at for at in _PLACES if head[at : at + 8] == _SIGNATURE), None)


def read_superblock(file: ByteFile) -> tuple[Blocks, int]:
    """The file's blocks, and the address of the root group's header."""
    base = find_superblock(bytes(file.view(0, min(file.size, _PLACES[-1] + 8))))
    if base is None:
        raise CorruptCheckpointError("it has no HDF5 superblock", where=file.name)
    blocks = Blocks(file, base)
    fields = blocks.fields(0, min(128, file.size - base), _SIGNATURE)
    version = fields.number(1)
    if version > 3:
        raise blocks.unsupported(f"it has a superblock of version {version}")
    if version < 2:
        fields.take(4)
    else:
        blocks.verify(0, _NEW_SIZE)
    sizes = fields.number(1), fields.number(1)
    if sizes != (8, 8):
        raise blocks.unsupported(f"its addresses and lengths take {sizes[0]} and {sizes[1]} bytes")
    fields.take((9, 13, 1, 1)[version])
    fields.address()  # the base: readers take the superblock's place for it, as files may be moved
    fields.address()
    end = fields.address()
    if version < 2:
        if fields.address() is not None:
            raise blocks.unsupported("it is one of several files")
        fields.address()
    root = fields.address()
    if end is None or root is None:
        raise blocks.corrupt("its superblock names no end or no root")
    if end > file.size:
        raise blocks.corrupt(f"it should have {end} bytes and has {file.size}: it is truncated")
    return blocks, root
