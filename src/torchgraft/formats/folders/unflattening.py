"""Puts values with paths back into the nested dicts and lists that they were taken from."""

from __future__ import annotations

from collections.abc import Mapping

from torchgraft.errors import CorruptCheckpointError

__all__ = ["unflatten"]


def unflatten(
    values: Mapping[str, object], paths: Mapping[str, tuple[str | int, ...]], where: str
) -> dict[object, object]:
    """The nested dict.

    Args:
        values: By name.
        paths: The keys that lead to each; whole numbers are places in a list. A name without a path is a key
            of the outermost dict.
        where: The file, for messages.

    Raises:
        CorruptCheckpointError: Two values are at one place, or one is inside another.
    """
    root: dict[object, object] = {}
    made = {id(root)}
    inner: list[tuple[dict[object, object], object, dict[object, object]]] = []
    for name, value in values.items():
        *above, last = paths.get(name, (name,))
        node = root
        for step in above:
            if step not in node:
                child: dict[object, object] = {}
                made.add(id(child))
                inner.append((node, step, child))
                node[step] = child
            below = node[step]
            if not isinstance(below, dict) or id(below) not in made:
                raise _clash(name, where)
            node = below
        if last in node:
            raise _clash(name, where)
        node[last] = value
    for parent, key, child in reversed(inner):
        if all(type(step) is int for step in child) and max(child) == len(child) - 1:  # type: ignore[type-var]
            parent[key] = [child[place] for place in range(len(child))]
    return root


def _clash(name: str, where: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "is at the place of another entry in the nested state dict", where=f"{where}: {name[:200]}"
    )
