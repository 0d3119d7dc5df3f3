"""What a file holds beside its weights, as lines of path and value: as much as a reader can take in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torchgraft.report.quantities import plural
from torchgraft.report.safe_text import clean

__all__ = ["metadata_rows"]

_MOST_ROWS = 300
_MOST_INSIDE = 60
_DEEPEST = 6
_LONGEST = 2000


def metadata_rows(metadata: Mapping[str, object]) -> tuple[list[tuple[str, str]], bool]:
    """Paths and values, and whether there is more than is shown."""
    rows: list[tuple[str, str]] = []
    for row in _walk(metadata, "", 0):
        if len(rows) == _MOST_ROWS:
            return rows, True
        rows.append(row)
    return rows, False


def _walk(value: object, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth < _DEEPEST:
        for count, (key, item) in enumerate(value.items()):
            if count == _MOST_INSIDE and depth:
                yield path, f"… {plural(len(value) - count, 'more entry', 'more entries')}"
                return
            name = clean(key, limit=80)
            yield from _walk(item, f"{path}.{name}" if path else name, depth + 1)
        return
    yield path, _text(value)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return plural(len(value), "entry", "entries") if value else "empty"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        if all(item is None or isinstance(item, (bool, int, float, str)) for item in value[:20]):
            shown = ", ".join(clean(item, limit=60) for item in value[:20])
            return (shown + (f", … ({len(value):,} in all)" if len(value) > 20 else "")) or "empty"
        return plural(len(value), "item")
    return clean(value, limit=_LONGEST)
