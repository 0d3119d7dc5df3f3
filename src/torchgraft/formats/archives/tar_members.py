"""The members of a tar archive (POSIX.1-1988 "ustar" and 2001 "pax"), each checked to lie within it."""

from __future__ import annotations

import re

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.byte_file import ByteFile

__all__ = ["first_name", "is_tar", "read_members"]

_BLOCK = 512
_MAX_MEMBERS = 100
_MAX_PAX = 1 << 16
_PAX_SIZE = re.compile(rb"\d+ size=(\d{1,18})\n")


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so claims to be a tar archive."""
    return head[257:262] == b"ustar"


def first_name(head: bytes) -> str:
    """The name of the first member."""
    return _text(head[:100])


def read_members(file: ByteFile) -> dict[str, tuple[int, int]]:
    """Where each file in the archive begins, and how many bytes it has, by name.

    Raises:
        CorruptCheckpointError: It is truncated, or a header is damaged.
        UnsafeCheckpointError: It has links, two members of one name, or very many.
    """
    where = file.name
    members: dict[str, tuple[int, int]] = {}
    at, size_ahead = 0, None
    for _ in range(_MAX_MEMBERS):
        header = bytes(file.view(at, _BLOCK))
        if not header.strip(b"\0"):
            return members
        size = _number(header[124:136])
        if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32 or size is None:
            raise CorruptCheckpointError(f"the tar header at byte {at} is damaged", where=where)
        kind, name = header[156:157], _text(header[:100]).removeprefix("./")
        size, size_ahead = (size if size_ahead is None else size_ahead), None
        begin = at + _BLOCK
        if kind == b"x":  # a header that says more of the next member: its size, where 8 GiB don't do
            found = _PAX_SIZE.search(bytes(file.view(begin, min(size, _MAX_PAX))))
            size_ahead = int(found[1]) if found else None
        elif kind in (b"0", b"\0"):
            file.view(begin, size).release()
            if name in members:
                raise UnsafeCheckpointError(f"two members are called {name!r}", where=where)
            members[name] = (begin, size)
        elif kind not in (b"5", b"g"):
            raise UnsafeCheckpointError(f"member {name!r} is a link or a device", where=where)
        at = begin + -(-size // _BLOCK) * _BLOCK
    raise UnsafeCheckpointError(f"it has more than {_MAX_MEMBERS} members", where=where)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _number(field: bytes) -> int | None:
    """Octal digits, or for large numbers a byte 0x80 and the number itself."""
    if field[:1] == b"\x80":
        number = int.from_bytes(field[1:], "big")
        return number if number < 1 << 62 else None
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None
