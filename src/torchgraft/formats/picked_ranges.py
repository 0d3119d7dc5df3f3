"""What an index selects, as positions along each dimension."""

from __future__ import annotations

from torchgraft.tensors import Index

__all__ = ["picked_ranges"]


def picked_ranges(index: Index, shape: tuple[int, ...]) -> list[range] | None:
    """The positions along each dimension that whole numbers and slices select; `None` for any other index."""
    items = index if isinstance(index, tuple) else (index,)
    taken = [item for item in items if item is not None]
    if any(type(item) is not int and not isinstance(item, slice) and item is not Ellipsis for item in taken):
        return None
    rest = [slice(None)] * (len(shape) - sum(item is not Ellipsis for item in taken))
    spread: list[int | slice] = []
    for item in taken:
        if isinstance(item, (int, slice)):
            spread.append(item)
        else:
            spread += rest
            rest = []
    spread += rest
    return [
        range(*item.indices(size)) if isinstance(item, slice) else range(item % size, item % size + 1)
        for item, size in zip(spread, shape, strict=True)
    ]
