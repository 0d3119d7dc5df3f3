"""B-trees, of both versions: lists that a large group or dataset is found by."""

from __future__ import annotations

from collections.abc import Iterator

from torchgraft.formats.hdf5.blocks import Blocks, Fields

__all__ = ["old_tree", "records"]

_MAX_DEPTH = 16


def old_tree(blocks: Blocks, address: int, kind: int, key_size: int) -> Iterator[tuple[bytes, int]]:
    """Keys and addresses of the leaves of a version 1 B-tree, in its order.

    Args:
        blocks: The file.
        address: Its root node.
        kind: 0 for a group's, 1 for a chunked dataset's.
        key_size: Bytes a key takes.
    """
    stack = [(address, -1)]
    seen: set[int] = set()
    while stack:
        place, level = stack.pop()
        if place in seen:
            raise blocks.unsafe("its B-tree holds itself, or a part of it twice")
        seen.add(place)
        head = blocks.fields(place, 24, b"TREE")
        actual_kind, actual_level, count = head.number(1), head.number(1), head.number(2)
        if actual_kind != kind or actual_level > _MAX_DEPTH or (level >= 0 and actual_level != level):
            raise blocks.corrupt("its B-tree is damaged")
        body = blocks.fields(place + 24, count * (key_size + 8))
        children = []
        for _ in range(count):
            key, child = body.take(key_size), body.address()
            if child is None:
                raise blocks.corrupt("a part of its B-tree is missing")
            children.append((key, child))
        if actual_level:
            stack.extend((child, actual_level - 1) for _, child in reversed(children))
        else:
            yield from children


def records(blocks: Blocks, address: int, kinds: tuple[int, ...]) -> Iterator[Fields]:
    """The records of a version 2 B-tree, in its order.

    Args:
        blocks: The file.
        address: Its header.
        kinds: The types it may be of.
    """
    blocks.verify(address, 34)
    fields = blocks.fields(address, 38, b"BTHD")
    fields.take(1)
    kind, node_size, size, depth = fields.number(1), fields.number(4), fields.number(2), fields.number(2)
    fields.take(2)
    root, count = fields.address(), fields.number(2)
    if kind not in kinds or not size or depth > _MAX_DEPTH or node_size < 10 + size:
        raise blocks.corrupt("its B-tree is damaged")
    if root is None:
        return
    count_size, total_sizes = _pointer_sizes(node_size, size, depth)
    seen: set[int] = set()
    stack: list[tuple[int, int, int] | bytes] = [(root, count, depth)]
    while stack:
        step = stack.pop()
        if isinstance(step, bytes):
            yield Fields(blocks, step)
            continue
        place, count, level = step
        if place in seen:
            raise blocks.unsafe("its B-tree holds itself, or a part of it twice")
        seen.add(place)
        if 6 + count * size > node_size:
            raise blocks.corrupt("its B-tree is damaged")
        pointers = (count + 1) * (8 + count_size + total_sizes[level - 1]) if level else 0
        blocks.verify(place, 6 + count * size + pointers)
        node = blocks.fields(place, node_size, b"BTIN" if level else b"BTLF")
        node.take(2)
        found = [node.take(size) for _ in range(count)]
        if not level:
            yield from (Fields(blocks, record) for record in found)
            continue
        steps: list[tuple[int, int, int] | bytes] = []
        for index in range(count + 1):
            child, below = node.address(), node.number(count_size)
            node.take(total_sizes[level - 1])
            if child is None:
                raise blocks.corrupt("a part of its B-tree is missing")
            steps.append((child, below, level - 1))
            steps.extend(found[index : index + 1])
        stack.extend(reversed(steps))


def _pointer_sizes(node_size: int, size: int, depth: int) -> tuple[int, list[int]]:
    """Bytes that the counts in a pointer take: of a node's own records, and of all under it, by level."""
    most = (node_size - 10) // size
    count_size = _bytes_for(most)
    totals, total_sizes = most, [0]
    for _ in range(depth):
        pointer = 8 + count_size + total_sizes[-1]
        most = max((node_size - 10 - pointer) // (size + pointer), 0)
        totals = (most + 1) * totals + most
        total_sizes.append(_bytes_for(totals))
    return count_size, total_sizes


def _bytes_for(limit: int) -> int:
    return (max(limit, 1).bit_length() - 1) // 8 + 1
