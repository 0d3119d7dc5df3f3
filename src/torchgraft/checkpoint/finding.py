"""Walks a file's data and gathers its sets of tensors: by where they stand, not by what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard

from torchgraft.checkpoint.modules import is_module, made_of, module_state
from torchgraft.checkpoint.parts import OPTIMIZERS, TensorSet
from torchgraft.checkpoint.rest import key_text
from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.container import Placeholder
from torchgraft.tensors import TensorRef

__all__ = ["Found", "find_sets"]

Key: TypeAlias = "str | int"
_Path: TypeAlias = "tuple[Key, ...]"

_MAX_DEPTH = 200
_MAX_REPEATED = 20_000


@dataclass
class Found:
    """What the walk found.

    Attributes:
        sets: The sets of tensors, in the file's order.
        classes: Names of the unknown classes met, as keys, in the order they were met.
        owned: Ids of the containers whose tensors a set holds.
    """

    sets: list[TensorSet] = field(default_factory=list)
    classes: dict[str, None] = field(default_factory=dict)
    owned: set[int] = field(default_factory=set)


def find_sets(tree: object, where: str) -> Found:
    """Every set of tensors in the tree. Cycles and shared parts are visited once.

    Raises:
        UnsafeCheckpointError: A module in it is endless, or its tensors are. `where` names the file.
    """
    found = Found()
    seen: set[int] = set()
    repeated = 0
    stack: list[tuple[_Path, object]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, (str, bytes, int, float)) or node is None or id(node) in seen:
            continue
        if len(path) > _MAX_DEPTH:
            continue  # no honest file keeps its weights there, and paths grow with depth
        seen.add(id(node))
        if isinstance(node, Placeholder):
            found.classes.setdefault(node.class_name)
        if is_module(node):
            state = module_state(node, found.classes, where)
            if state:
                _add(found, node, path, state)
            continue
        if isinstance(node, TensorRef):
            if not path or isinstance(path[-1], int):
                _add(found, node, path, {_dotted(path) or "tensor": node})
            continue
        if inner := made_of(node):
            _add(found, node, path, inner)
            continue
        if type(node) is dict and _is_plain(node):
            _add(found, node, path, dict(node))
            continue
        children = list(_children(node))
        if isinstance(node, dict) and _is_per_parameter(node):
            _add(found, node, path, dict(_flatten(node)), per_parameter=True)
            continue
        if isinstance(node, dict) and _is_nested_weights(node):
            _add(found, node, path, dict(_flatten(node)))
            continue
        own = dict(_own_tensors(children)) if isinstance(node, dict) else {}
        if own:
            _add(found, node, path, own)
            for _, child in children:
                if isinstance(child, Placeholder) and child.tensors:
                    found.classes.setdefault(child.class_name)
                    repeated += len(child.tensors) if id(child) in seen else 0
                    seen.add(id(child))
            if repeated > _MAX_REPEATED:
                raise UnsafeCheckpointError(
                    "the same tensors made of others stand in it over and over", where=where
                )
            children = [
                (key, child)
                for key, child in children
                if not isinstance(child, TensorRef) and not _is_packed_pair(child, key) and not made_of(child)
            ]
        stack.extend(((*path, key), child) for key, child in reversed(children))
    return found


def _add(
    found: Found, node: object, path: _Path, tensors: Mapping[str, TensorRef], *, per_parameter: bool = False
) -> None:
    found.sets.append(TensorSet(_dotted(path), tensors, per_parameter))
    found.owned.add(id(node))


def _is_plain(node: Mapping[object, object]) -> TypeGuard[Mapping[str, TensorRef]]:
    """Names of tensors and nothing else, as most state dicts are: seen by types, of which there are few."""
    return set(map(type, node)) == {str} and all(
        issubclass(kind, TensorRef) for kind in set(map(type, node.values()))
    )


def _dotted(path: _Path) -> str:
    return ".".join(map(str, path))


def _children(node: object) -> Iterator[tuple[Key, object]]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield (key if isinstance(key, (str, int)) else key_text(key)), child
    elif isinstance(node, (list, tuple, set, frozenset)):
        yield from enumerate(node)
    elif isinstance(node, Placeholder):
        if isinstance(node.state, dict):
            yield from _children(node.state)
        elif node.state is not None:
            yield "state", node.state
        if node.items:
            yield from _children(node.items)
        yield from enumerate(node.args)


def _own_tensors(children: list[tuple[Key, object]]) -> Iterator[tuple[str, TensorRef]]:
    for key, child in children:
        if isinstance(child, TensorRef):
            yield str(key), child
        elif _is_packed_pair(child, key):
            for number, part in enumerate(child):
                if isinstance(part, TensorRef):
                    yield f"{key}.{number}", part
        else:
            for name, part in (made_of(child) or {}).items():
                yield f"{key}.{name}", part


def _is_packed_pair(child: object, key: Key) -> TypeGuard[tuple[object, ...]]:
    """A quantised layer's weight and bias, which its state dict keeps under one name."""
    return str(key).endswith("_packed_params") and isinstance(child, tuple) and len(child) == 2


def _is_per_parameter(node: Mapping[object, object]) -> bool:
    """Dicts alike under one roof, each of a few tensors of one shape: moments kept for each parameter."""
    members = [child for child in node.values() if isinstance(child, dict)]
    if len(members) < 2 or len(members) < len(node):
        return False
    keys = {frozenset(member) for member in members if member}
    if len(keys) > 2 or any(len(key) > 8 for key in keys):
        return False  # one set of keys, or two where some parameters have not been stepped yet
    if all(isinstance(key, int) for key in node):
        return any(isinstance(value, TensorRef) for member in members for value in member.values())
    return all(_one_shape(member) for member in members)


def _one_shape(member: Mapping[object, object]) -> bool:
    """Two or more tensors, all of one shape but for counters: a weight with its bias never looks so."""
    shapes = [value.shape for value in member.values() if isinstance(value, TensorRef) and value.shape]
    return len(shapes) >= 2 and len(set(shapes)) == 1


def _is_nested_weights(node: Mapping[object, object]) -> bool:
    """Dicts in dicts down to tensors and nothing else, undotted keys: one set whose names are the paths.

    A dict of one dict only wraps it, and dicts of equal keys and shapes are copies, not layers.
    """
    forms = [_form(child) for child in node.values() if isinstance(child, dict)]
    if len(node) < 2 or len(set(forms)) < len(forms) or any(key in OPTIMIZERS for key in node):
        return False
    depth_two = False
    stack: list[tuple[int, object]] = [(0, node)]
    seen: set[int] = set()
    while stack:
        depth, inner = stack.pop()
        if not isinstance(inner, dict) or not inner or id(inner) in seen or depth > _MAX_DEPTH:
            return False
        seen.add(id(inner))
        for key, child in inner.items():
            if not isinstance(key, str) or "." in key:
                return False
            if isinstance(child, TensorRef):
                depth_two = depth_two or depth > 0
            else:
                stack.append((depth + 1, child))
    return depth_two


def _form(member: Mapping[object, object]) -> frozenset[tuple[object, object]]:
    """Its keys and the shapes of its tensors."""
    return frozenset(
        (key, value.shape if isinstance(value, TensorRef) else None) for key, value in member.items()
    )


def _flatten(node: Mapping[object, object]) -> Iterator[tuple[str, TensorRef]]:
    seen: set[int] = set()
    stack: list[tuple[_Path, object]] = [((), node)]
    while stack:
        path, inner = stack.pop()
        if isinstance(inner, TensorRef):
            yield _dotted(path), inner
        elif (parts := made_of(inner)) and id(inner) not in seen:
            seen.add(id(inner))
            yield from ((_dotted((*path, name)), part) for name, part in parts.items())
        elif isinstance(inner, dict) and id(inner) not in seen and len(path) <= _MAX_DEPTH:
            seen.add(id(inner))
            stack.extend(((*path, key), child) for key, child in reversed(list(_children(inner))))
