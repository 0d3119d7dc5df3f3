"""Tensors that are made of other tensors: nested ones, and subclasses that wrap some (`DTensor`, torchao's).

No tensor of one shape and dtype is what such a class means by them, so they become placeholders with their
parts by name. A `DTensor` whose part on this process is all of it makes an exception.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.values import Budget
from torchgraft.tensors import TensorRef

__all__ = ["jagged_tensor", "nested_tensor", "wrapper_tensor"]

_MAX_NODES = 200
_MAX_DEPTH = 4
_RAGGED = "its rows differ in length, which no tensor of one shape can say"
_DTENSOR = ("torch.distributed.tensor.DTensor", "torch.distributed._tensor.api.DTensor")
_WHOLE = ("Replicate", "Shard", "_StridedShard")
"""How a `DTensor` may be spread, when a part of its own shape is to be its values: no partial sums."""


def nested_tensor(args: tuple[object, ...]) -> Placeholder | None:
    """A nested tensor of the strided layout, from its values in a row, and the sizes, strides and offsets of
    the tensors in it; `None` if these are not such."""
    match args:
        case (TensorRef() as buffer, TensorRef() as sizes, TensorRef() as strides, TensorRef() as offsets):
            parts = {"buffer": buffer, "sizes": sizes, "strides": strides, "offsets": offsets}
        case _:
            return None
    whole_numbers = all(ref.dtype == "int64" for ref in (sizes, strides, offsets))
    fits = sizes.shape == strides.shape and sizes.shape[:1] == offsets.shape and len(sizes.shape) == 2
    if not (whole_numbers and fits and len(buffer.shape) == 1):
        return None
    return Placeholder("torch.nested.nested_tensor", state=parts, why=_RAGGED, tensors=parts)


def jagged_tensor(name: str, args: tuple[object, ...]) -> Placeholder | None:
    """A nested tensor of the jagged layout, from its rows after each other and where each begins.

    Args:
        name: Its class.
        args: What it is rebuilt from: one dict.
    """
    found = args[0] if len(args) == 1 else None
    if not isinstance(found, dict):
        return None
    values, offsets = found.get("values"), found.get("offsets")
    if not isinstance(values, TensorRef) or not isinstance(offsets, TensorRef):
        return None
    parts = {"values": values, "offsets": offsets}
    if isinstance(lengths := found.get("lengths"), TensorRef):
        parts["lengths"] = lengths
    state: dict[str, object] = {**parts, "ragged dimension": found.get("_ragged_idx")}
    known = found.get("_metadata_cache")
    for key in ("min_seqlen", "max_seqlen"):
        # PyTorch keeps these numbers as the first dimension of an empty tensor.
        ref = known.get(key) if isinstance(known, dict) else None
        if isinstance(ref, TensorRef) and ref.shape:
            state[key] = ref.shape[0]
    return Placeholder(name, state=state, why=_RAGGED, tensors=parts)


def wrapper_tensor(
    name: str, args: tuple[object, ...], state: object, budget: Budget
) -> Placeholder | TensorRef:
    """A tensor of a subclass that wraps others.

    Args:
        name: The class.
        args: `(class, dtype, size, stride, …)` of the tensor that it stands for.
        state: Its attributes, among which the others are.
        budget: Of the pickle: a state may be told over and over.
    """
    found = _Parts(budget)
    found.add("", state, 0)
    parts = found.tensors if found.nodes <= _MAX_NODES else None
    if name in _DTENSOR and parts is not None and len(args) > 2:
        local, size = parts.get("_local_tensor"), args[2]
        if local is not None and local.shape == size and _is_whole(state):
            return local
        if local is not None:
            why = (
                f"the file has a part of it, {list(local.shape)} of {_shown(size)}: several processes shared "
                "it; torch.distributed.checkpoint saves them together"
            )
            return Placeholder(name, args, state=state, why=why, tensors=parts)
    why = f"what {name[:200]} makes of the tensors in it is known to that class alone"
    return Placeholder(name, args, state=state, why=why, tensors=parts)


@dataclass(slots=True)
class _Parts:
    """The tensors in an object's state, by attribute; those of a wrapper in it by their names there."""

    budget: Budget
    nodes: int = 0
    tensors: dict[str, TensorRef] = field(default_factory=dict)

    def add(self, path: str, node: object, depth: int) -> None:
        """Those in a part of the state. Nothing more is looked at when there were too many of anything."""
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            return
        self.budget.spend(1)
        inner: Iterable[tuple[object, object]] = ()
        if isinstance(node, TensorRef):
            self.tensors[path or "tensor"] = node
        elif isinstance(node, Placeholder):
            inner = (node.tensors or {}).items()
        elif isinstance(node, dict):
            some = itertools.islice(node.items(), _MAX_NODES)
            inner = ((key, value) for key, value in some if isinstance(key, str) and "." not in key)
        elif isinstance(node, (list, tuple)):
            in_slots = isinstance(node, tuple) and len(node) == 2 and not path
            inner = (("" if in_slots else number, value) for number, value in enumerate(node))
        if depth < _MAX_DEPTH:
            for key, value in inner:
                self.add(f"{path}.{key}".strip("."), value, depth + 1)
                if self.nodes > _MAX_NODES:
                    return


def _is_whole(state: object) -> bool:
    """Whether no process has but a part of each sum of a `DTensor`'s values."""
    match state:
        case (_, {"_spec": Placeholder(state={"placements": tuple(placements)})}):
            return all(
                isinstance(placement, Placeholder)
                and placement.class_name.startswith("torch.distributed.")
                and placement.class_name.rpartition(".")[2] in _WHOLE
                for placement in placements
            )
    return False


def _shown(size: object) -> str:
    known = isinstance(size, tuple) and len(size) <= 8 and all(isinstance(number, int) for number in size)
    return str([*size]) if isinstance(size, tuple) and known else "an unknown shape"
