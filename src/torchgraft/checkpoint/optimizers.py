"""States of optimizers in a file: found by their form, which is what `Optimizer.state_dict` gives."""

from __future__ import annotations

from collections.abc import Mapping

from torchgraft.formats.container import Placeholder

__all__ = ["find_optimizers"]

_MAX_DEPTH = 16
_MAX_NODES = 100_000


def find_optimizers(tree: object) -> dict[str, Mapping[str, object]]:
    """Every state in the tree by its path, not read yet: tensors in it are lazy ones.

    A state is a dict with a dict `state` and a list `param_groups` of dicts, each with `params`.
    """
    found: dict[str, Mapping[str, object]] = {}
    seen: set[int] = set()
    stack: list[tuple[tuple[str, ...], object]] = [((), tree)]
    while stack and len(seen) < _MAX_NODES:
        path, node = stack.pop()
        if not isinstance(node, (dict, list, tuple, Placeholder)) or id(node) in seen:
            continue
        seen.add(id(node))
        if _is_state(node):
            assert isinstance(node, dict)
            found[".".join(path)] = node
        elif len(path) < _MAX_DEPTH:
            stack += [((*path, name), child) for name, child in reversed(_children(node))]
    return found


def _children(node: object) -> list[tuple[str, object]]:
    if isinstance(node, Placeholder):
        node = node.state
    if isinstance(node, dict):
        return [(str(key), child) for key, child in node.items() if isinstance(key, (str, int))]
    if isinstance(node, (list, tuple)):
        return [(str(index), child) for index, child in enumerate(node)]
    return []


def _is_state(node: object) -> bool:
    if not isinstance(node, dict):
        return False
    groups = node.get("param_groups")
    if not (isinstance(node.get("state"), dict) and isinstance(groups, (list, tuple)) and groups):
        return False
    return all(isinstance(group, dict) and isinstance(group.get("params"), (list, tuple)) for group in groups)
