"""The state dict of a module that was pickled whole, read off what the file says of it, without its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from torchgraft.checkpoint.quantised_modules import is_packed_convolution, is_quantised, packed_tensors
from torchgraft.errors import UnsafeCheckpointError
from torchgraft.formats.container import Placeholder
from torchgraft.tensors import TensorRef

__all__ = ["is_module", "made_of", "module_state"]

_MAX_DEPTH = 200
_MAX_MODULES = 200_000  # a module that stands in two places counts twice, as its tensors do


def is_module(node: object) -> TypeGuard[Placeholder]:
    """Whether this was an `nn.Module`: its state has the three stores that every module has.

    Two kinds are pickled in a way of their own: what `torch.compile` gave, and quantised convolutions.
    """
    if not isinstance(node, Placeholder):
        return False
    return _has_stores(node) or _compiled(node) is not None or is_packed_convolution(node)


def made_of(node: object) -> Mapping[str, TensorRef] | None:
    """The tensors that a tensor of a wrapping class is made of, by name; `None` for anything else."""
    return node.tensors if isinstance(node, Placeholder) else None


def _has_stores(node: Placeholder) -> bool:
    return isinstance(node.state, dict) and all(
        isinstance(node.state.get(store), dict) for store in ("_parameters", "_buffers", "_modules")
    )


def _compiled(node: Placeholder) -> Placeholder | None:
    """The module inside what `torch.compile` gave."""
    if node.class_name == "torch._dynamo.eval_frame.OptimizedModule" and node.args:
        inner = node.args[0]
        return inner if isinstance(inner, Placeholder) and _has_stores(inner) else None
    return None


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
        if id(node) in above:
            return  # a module that holds itself has no state dict either
        above.add(id(node))
        if (inner := _compiled(node)) is not None:
            classes.setdefault(inner.class_name)
            visit(inner, f"{prefix}_orig_mod.")
        elif is_packed_convolution(node):
            tensors.update({f"{prefix}{name}": value for name, value in packed_tensors(node).items()})
        else:
            stores(node, prefix)
        above.discard(id(node))

    def stores(node: Placeholder, prefix: str) -> None:
        state = node.state
        assert isinstance(state, dict)
        unsaved = state.get("_non_persistent_buffers_set")  # since PyTorch 1.5
        unsaved = unsaved if isinstance(unsaved, (set, frozenset, list)) else ()
        for name, value in _named(state["_parameters"]):
            if isinstance(value, TensorRef):
                tensors[f"{prefix}{name}"] = value
            elif isinstance(value, Placeholder):  # one that wraps others, or has no shape yet
                classes.setdefault(value.class_name)
                tensors.update({f"{prefix}{name}.{key}": ref for key, ref in (value.tensors or {}).items()})
        for name, value in _named(state["_buffers"]):
            if isinstance(value, TensorRef) and name not in unsaved:
                tensors[f"{prefix}{name}"] = value
            elif name not in unsaved:
                tensors.update({f"{prefix}{name}.{key}": ref for key, ref in (made_of(value) or {}).items()})
        if is_quantised(node.class_name):
            tensors.update({f"{prefix}{name}": value for name, value in packed_tensors(node).items()})
        for name, child in _named(state["_modules"]):
            if is_module(child):
                classes.setdefault(child.class_name)
                visit(child, f"{prefix}{name}.")

    visit(module, "")
    return tensors


def _named(store: Mapping[object, object]) -> list[tuple[str, object]]:
    """What has a name in a store: keys that are objects may be endless to print."""
    return [(name, value) for name, value in store.items() if isinstance(name, str)]
