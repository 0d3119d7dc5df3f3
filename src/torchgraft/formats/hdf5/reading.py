"""An HDF5 file as groups and datasets, each visited once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torchgraft.formats.hdf5.attributes import read_attributes
from torchgraft.formats.hdf5.blocks import Blocks
from torchgraft.formats.hdf5.datasets import Dataset, read_dataset
from torchgraft.formats.hdf5.headers import LAYOUT, Message, read_header
from torchgraft.formats.hdf5.heaps import GlobalHeap
from torchgraft.formats.hdf5.links import is_group, read_links
from torchgraft.formats.hdf5.superblock import find_superblock, read_superblock
from torchgraft.storage.byte_file import ByteFile

__all__ = ["Group", "is_hdf5", "read_hdf5"]

_MAX_DEPTH = 100


@dataclass(slots=True, eq=False)
class Group:
    """A folder in the file.

    Attributes:
        path: Its path, without a slash at the start; empty for the root.
        attributes: Texts, numbers and lists of them.
        members: Groups and datasets by name, as far as it is known in the order of creation.
    """

    path: str
    attributes: dict[str, object] = field(default_factory=dict)
    members: dict[str, Group | Dataset] = field(default_factory=dict)

    def find(self, path: str) -> Group | Dataset | None:
        """What is at a path under it."""
        here: Group | Dataset | None = self
        for name in path.split("/"):
            if not isinstance(here, Group):
                return None
            here = here.members.get(name)
        return here


def is_hdf5(head: bytes) -> bool:
    """Whether a file that begins so is HDF5."""
    return find_superblock(head) is not None


def read_hdf5(file: ByteFile) -> Group:
    """The root group. Every header is read and checked, no dataset is.

    Raises:
        CorruptCheckpointError: The file is truncated, contradicts itself, or uses what is not supported.
        UnsafeCheckpointError: It leads outside of itself, or its groups hold each other.
    """
    blocks, address = read_superblock(file)
    heap = GlobalHeap(blocks)
    root = Group("")
    groups = {address}
    datasets: dict[int, Dataset] = {}
    blocks.place = "/"
    header = read_header(blocks, address)
    if not is_group(header):
        raise blocks.corrupt("its root is no group")
    stack = [(root, _members(blocks, root, header, heap))]
    while stack:
        group, left = stack[-1]
        name, place = next(left, ("", None))
        if place is None:
            stack.pop()
            continue
        path = f"{group.path}/{name}" if group.path else name
        blocks.place = f"/{path}"
        blocks.spend(len(path))
        if place in datasets:
            group.members[name] = datasets[place]
            continue
        if place in groups:
            raise blocks.unsafe("this group is in the file in two places, or in itself")
        inner = read_header(blocks, place)
        if any(message.kind == LAYOUT for message in inner):
            datasets[place] = group.members[name] = read_dataset(blocks, place, inner, heap)
        elif is_group(inner):
            if len(stack) > _MAX_DEPTH:
                raise blocks.unsafe(f"its groups are nested more than {_MAX_DEPTH} deep")
            groups.add(place)
            group.members[name] = child = Group(path)
            stack.append((child, _members(blocks, child, inner, heap)))
        else:
            group.members[name] = Dataset(path, "a datatype", None)
    return root


def _members(
    blocks: Blocks, group: Group, header: list[Message], heap: GlobalHeap
) -> Iterator[tuple[str, int]]:
    """Where the group's members are; its attributes are read on the way."""
    group.attributes = read_attributes(blocks, header, heap)
    return iter(read_links(blocks, header).items())
