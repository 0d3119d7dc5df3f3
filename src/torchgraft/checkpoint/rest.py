"""What a file holds beside tensors, as plain data that can be printed and written as JSON."""

from __future__ import annotations

from collections.abc import Set

from torchgraft.formats.container import Placeholder
from torchgraft.formats.stored_tensor import Storage
from torchgraft.tensors import TensorRef

__all__ = ["key_text", "plain"]

_DEPTH = 32
_MAX_VALUES = 300_000
_CUT = "…"


def plain(node: object, owned: Set[int]) -> object:
    """The tree with a word in place of each tensor and of each set of tensors.

    What is more than 32 levels deep, or comes after the first 300,000 values, becomes "…": a tree
    that shares its branches may be endless when it is written out.

    Args:
        node: Where to begin.
        owned: Ids of containers that are sets of tensors: their tensors are counted, not listed.
    """
    return _Writer(owned).write(node, _DEPTH)


def key_text(key: object) -> str:
    """A dict's key in words. Keys that are objects are only named: what they hold may be endless."""
    if isinstance(key, Placeholder):
        return f"<{key.class_name}>"
    return str(key)


class _Writer:
    def __init__(self, owned: Set[int]) -> None:
        self._owned = owned
        self._left = _MAX_VALUES

    def write(self, node: object, depth: int) -> object:
        self._left -= 1
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, TensorRef):
            return f"tensor {node.dtype} {list(node.shape)}"
        if isinstance(node, (bytes, bytearray)):
            return f"{len(node)} bytes"
        if isinstance(node, Storage):
            return f"storage {node.dtype} of {node.nbytes} bytes"
        if depth == 0 or self._left < 0:
            return _CUT
        if isinstance(node, dict):
            return self._dict(node, depth)
        if isinstance(node, (list, tuple, set, frozenset)):
            return self._values(node, depth)
        if isinstance(node, Placeholder):
            return self._placeholder(node, depth)
        return str(node)

    def _dict(self, node: dict[object, object], depth: int) -> object:
        shown = node
        if id(node) in self._owned:
            if all(issubclass(kind, TensorRef) for kind in set(map(type, node.values()))):
                return f"{len(node)} tensors"
            if all(isinstance(value, dict) for value in node.values()):
                return f"tensors in {len(node)} groups"
            shown = {key: value for key, value in node.items() if not isinstance(value, TensorRef)}
        written: dict[str, object] = {}
        for key, value in shown.items():
            if self._left < 0:
                written[_CUT] = f"{len(shown) - len(written)} more"
                break
            written[key_text(key)] = self.write(value, depth - 1)
        return written

    def _values(self, node: list[object] | tuple[object, ...] | Set[object], depth: int) -> list[object]:
        written: list[object] = []
        for value in node:
            if self._left < 0:
                written.append(_CUT)
                break
            written.append(self.write(value, depth - 1))
        return written

    def _placeholder(self, node: Placeholder, depth: int) -> object:
        shown: dict[str, object] = {"class": node.class_name}
        if id(node) in self._owned and not node.why:
            return shown  # a module: its tensors are a part of their own
        if node.why:
            shown["why"] = node.why
        if node.args:
            shown["args"] = self.write(node.args, depth - 1)
        if isinstance(node.state, dict):
            state = self.write(node.state, depth - 1)
            shown |= state if isinstance(state, dict) else {"state": state}
        elif node.state is not None:
            shown["state"] = self.write(node.state, depth - 1)
        if node.items:
            shown["items"] = self.write(node.items, depth - 1)
        return shown
