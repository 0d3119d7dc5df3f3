"""The state dict of a module that was pickled whole, read off what the file says of it, without its class."""

from __future__ import annotations

from typing import TypeGuard

from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.container import Placeholder
from torchgraft.tensors import TensorRef

__all__ = ["is_module", "module_state"]

_MAX_DEPTH = 200
_MAX_MODULES = 200_000  # a module that stands in two places counts twice, as its tensors do


def is_module(node: object) -> TypeGuard[Placeholder]:
    """Whether this was an `nn.Module`: its state has the three stores that every module has."""
    return (
        isinstance(node, Placeholder)
        and isinstance(node.state, dict)
        and all(isinstance(node.state.get(store), dict) for store in ("_parameters", "_buffers", "_modules"))
    )


def module_state(module: Placeholder, classes: dict[str, None], where: str) -> dict[str, TensorRef]:
    """Its tensors, with the names and in the order that `state_dict()` would give.

    Args:
        module: The outermost module.
        classes: Class names of inner modules are added here.
        where: The file, for messages.

    Raises:
        UnsafeCheckpointError: It holds the same modules over and over, or more deeply than PyTorch could.
    """
    tensors: dict[str, TensorRef] = {}
    above: set[int] = set()
    visits = 0

    def visit(node: Placeholder, prefix: str) -> None:
        nonlocal visits
        visits += 1
        if visits > _MAX_MODULES or len(above) > _MAX_DEPTH:
            raise UnsafeCheckpointError(
                f"a module holds {_MAX_MODULES:,} others, or {_MAX_DEPTH} one inside another",
                where=where,
            )
        state = node.state
        assert isinstance(state, dict)
        if id(node) in above:
            return  # a module that holds itself has no state dict either
        above.add(id(node))
        unsaved = state.get("_non_persistent_buffers_set") or ()
        for name, value in state["_parameters"].items():
            if isinstance(value, TensorRef):
                tensors[f"{prefix}{name}"] = value
        for name, value in state["_buffers"].items():
            if isinstance(value, TensorRef) and name not in unsaved:
                tensors[f"{prefix}{name}"] = value
        for name, child in state["_modules"].items():
            if is_module(child):
                classes.setdefault(child.class_name)
                visit(child, f"{prefix}{name}.")
        above.discard(id(node))

    visit(module, "")
    return tensors
