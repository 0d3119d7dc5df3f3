"""Which tensors of a model a pattern means."""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["matches"]


def matches(key: str, pattern: str) -> bool:
    """Whether a tensor is meant by its name, the path of a module around it, or a pattern with `*`."""
    return fnmatchcase(key, pattern) or key.startswith(f"{pattern}.")
