"""Segments that wrappers put anywhere in a name."""

from __future__ import annotations

__all__ = ["unwrapped"]

_WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Of torch.compile, DataParallel, FSDP and activation checkpointing."""


def unwrapped(names: list[str]) -> list[str]:
    """The names without wrappers' segments; as they are if two would become one."""
    bare = [".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in names]
    return bare if len(set(bare)) == len(names) else names
