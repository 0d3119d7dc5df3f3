"""What is in a group: names, and where the objects are. Whatever leads elsewhere is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchgraft.formats.hdf5.blocks import Blocks, Fields
from torchgraft.formats.hdf5.btrees import old_tree, records
from torchgraft.formats.hdf5.headers import LINK, LINK_INFO, SYMBOLS, Message
from torchgraft.formats.hdf5.heaps import FractalHeap, read_local_heap

__all__ = ["is_group", "read_links"]

_BY_NAME, _BY_ORDER = 5, 6
_SOFT, _EXTERNAL = 1, 64
_MAX_NAME = 4096
_COPY = "write the arrays themselves into the file"


def is_group(header: Sequence[Message]) -> bool:
    """Whether an object with these messages is a group."""
    return any(message.kind in (LINK, LINK_INFO, SYMBOLS) for message in header)


def read_links(blocks: Blocks, header: Sequence[Message]) -> dict[str, int]:
    """The address of each member's header by its name: in the order of creation where it is known.

    Where it isn't, it is that in which their names were added to the group's heap, or, in a small new
    group, the order of their place in the file: nearly always the same. The group itself lists them by
    the alphabet, by a hash, or as there was room.
    """
    found: dict[str, int] = {}
    for _, name, address in sorted(_members(blocks, header)):
        if name in found:
            raise blocks.corrupt(f"it has two members {name[:100]!r}")
        found[name] = address
    return found


def _members(blocks: Blocks, header: Sequence[Message]) -> Iterator[tuple[int, str, int]]:
    """What each member is sorted by, its name and its address."""
    for message in header:
        if message.kind not in (LINK, LINK_INFO, SYMBOLS):
            continue
        if message.shared:
            raise blocks.unsupported("its list of members is kept elsewhere")
        fields = Fields(blocks, message.data)
        if message.kind == SYMBOLS:
            yield from _symbols(blocks, fields.address(), fields.address())
        elif message.kind == LINK:
            yield _link(blocks, fields)
        else:
            yield from _dense(blocks, fields)


def _symbols(blocks: Blocks, tree: int | None, heap: int | None) -> Iterator[tuple[int, str, int]]:
    """The members of an old group."""
    if tree is None or heap is None:
        raise blocks.corrupt("its list of members is missing")
    names = Fields(blocks, read_local_heap(blocks, heap))
    seen: set[int] = set()
    for _, place in old_tree(blocks, tree, 0, 8):
        if place in seen:
            raise blocks.unsafe("a part of its list of members is there twice")
        seen.add(place)
        head = blocks.fields(place, 8, b"SNOD")
        head.take(2)
        count = head.number(2)
        node = blocks.fields(place + 8, 40 * count)
        for _ in range(count):
            place, address, cached = node.size(), node.address(), node.number(4)
            node.take(20)
            names.at = place
            name = _name(blocks, names.text())
            if cached == 2:
                raise blocks.unsafe(f"its member {name[:100]!r} is a soft link", hint=_COPY)
            if address is None:
                raise blocks.corrupt(f"its member {name[:100]!r} is missing")
            yield place, name, address


def _dense(blocks: Blocks, fields: Fields) -> Iterator[tuple[int, str, int]]:
    """The members of a large new group."""
    fields.take(1)
    flags = fields.number(1)
    fields.take(8 if flags & 1 else 0)
    heap, by_name = fields.address(), fields.address()
    by_order = fields.address() if flags & 2 else None
    tree = by_order if by_order is not None else by_name
    if heap is None or tree is None:
        return
    kept = FractalHeap.read(blocks, heap)
    for record in records(blocks, tree, (_BY_NAME, _BY_ORDER)):
        record.take(4 if by_order is None else 8)
        identity = record.take(7)
        order, name, address = _link(blocks, Fields(blocks, kept.get(identity)))
        yield kept.offset(identity) if by_order is None else order, name, address


def _link(blocks: Blocks, fields: Fields) -> tuple[int, str, int]:
    version, flags = fields.number(1), fields.number(1)
    if version != 1:
        raise blocks.corrupt(f"it has a link of version {version}")
    kind = fields.number(1) if flags & 8 else 0
    order = fields.size() if flags & 4 else None
    fields.take(1 if flags & 16 else 0)
    name = _name(blocks, fields.take(fields.number(1 << (flags & 3))))
    if kind:
        what = {_SOFT: "a soft link", _EXTERNAL: "a link to another file"}.get(kind, "a link of unknown kind")
        raise blocks.unsafe(f"its member {name[:100]!r} is {what}", hint=_COPY)
    address = fields.address()
    if address is None:
        raise blocks.corrupt(f"its member {name[:100]!r} is missing")
    return address if order is None else order, name, address


def _name(blocks: Blocks, raw: bytes) -> str:
    blocks.spend(len(raw))
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise blocks.corrupt(f"the name of a member is no text: {raw[:40]!r}") from error
    if not name or len(raw) > _MAX_NAME or "/" in name or name == "." or "\0" in name:
        raise blocks.corrupt(f"a member is called {name[:40]!r}, which no name can be")
    return name
