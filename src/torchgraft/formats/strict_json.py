"""JSON from a file that is not trusted: its size and number of values are known before it is parsed."""

from __future__ import annotations

import json

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.byte_file import ByteFile

__all__ = ["parse_json_table", "read_json_table", "unique_keys"]

_MAX_VALUES = 300_000  # at some 200 bytes a value; the text alone would allow thirty times its size
_MAX_WIDE = 8 << 20  # Python holds a text with one wide letter in up to four bytes a letter


def read_json_table(file: ByteFile, *, max_bytes: int) -> dict[str, object]:
    """The table (`{…}`) that a JSON file consists of.

    Raises:
        CorruptCheckpointError: It is no JSON, no table, names a key twice, or is nested too deeply.
        UnsafeCheckpointError: It is larger than `max_bytes` or holds more than 300,000 values.
    """
    if file.size > max_bytes:
        raise UnsafeCheckpointError(
            f"this JSON text has {file.size:,} bytes; the limit is {max_bytes:,}", where=file.name
        )
    return parse_json_table(bytes(file.view(0, file.size)), file.name)


def parse_json_table(raw: bytes, where: str) -> dict[str, object]:
    """The table (`{…}`) that a JSON text in UTF-8 consists of. Raises as `read_json_table` does."""
    if len(raw) > _MAX_WIDE and not raw.isascii():
        raise UnsafeCheckpointError(
            f"this JSON text has {len(raw):,} bytes and letters beyond ASCII; its limit is {_MAX_WIDE:,}",
            where=where,
        )
    if raw.count(b",") + raw.count(b"{") + raw.count(b"[") > _MAX_VALUES:
        raise UnsafeCheckpointError(f"this JSON text holds more than {_MAX_VALUES:,} values", where=where)
    try:
        table = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(
            f"this is no valid JSON: {str(error)[:200]}", where=where, hint="download or save it again"
        ) from error
    if not isinstance(table, dict):
        raise CorruptCheckpointError("this JSON text is not a table", where=where)
    return table


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The table of these pairs, for `json`'s `object_pairs_hook`. Raises `ValueError` for a repeated key."""
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"{key[:100]!r} is there twice")
            seen.add(key)
    return made
