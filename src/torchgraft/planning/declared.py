"""What the user declared as new: the only parts, beside a changed class count, that may stay untrained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchgraft.adapting.ops import Role
from torchgraft.anatomy.patterns import matches

__all__ = ["Declared", "parts_of"]

_ROLES = ("head", "stem", "vocabulary", "position", "relative-position")


@dataclass(frozen=True, slots=True)
class Declared:
    """The roles and name patterns of `allow_fresh`."""

    roles: frozenset[str]
    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, allow_fresh: str | Sequence[str]) -> Declared:
        """Read a role such as `"head"` or `"position"`, a pattern (`"aux.*"`), a path, or several of them."""
        words = [allow_fresh] if isinstance(allow_fresh, str) else list(allow_fresh)
        roles = frozenset(word for word in words if word in _ROLES)
        return cls(roles, tuple(word for word in words if word not in roles))

    def names(self, key: str) -> bool:
        """Whether a pattern or path covers the tensor."""
        return any(matches(key, pattern) for pattern in self.patterns)

    def covers(self, role: Role) -> bool:
        """Whether tensors of this role may stay fresh."""
        return role in self.roles


def parts_of(names: Sequence[str], among: Sequence[str]) -> tuple[str, ...]:
    """The fewest module paths, or tensor names, that cover `names` and no other of the names `among`.

    A module that is called like a role is written `head.*`, which means the module.
    """
    total = Counter(prefix for name in among for prefix in _prefixes(name))
    wanted = Counter(prefix for name in names for prefix in _prefixes(name))
    parts = (next(p for p in _prefixes(name) if wanted[p] == total[p]) for name in names)
    return tuple(dict.fromkeys(f"{part}.*" if part in _ROLES else part for part in parts))


def _prefixes(name: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.weight`: the modules around a tensor, the outermost first, and the tensor itself."""
    parts = name.split(".")
    for size in range(1, len(parts) + 1):
        yield ".".join(parts[:size])
