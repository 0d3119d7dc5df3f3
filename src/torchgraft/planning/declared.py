"""What the user declared as new: the only parts, beside a changed class count, that may stay untrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torchgraft.adapting.ops import Role

__all__ = ["Declared"]


@dataclass(frozen=True, slots=True)
class Declared:
    """The roles and name patterns of `allow_fresh`."""

    roles: frozenset[str]
    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, allow_fresh: str | Sequence[str]) -> Declared:
        """Read `"head"`, `"stem"`, a pattern such as `"aux.*"`, a module's path, or several of them."""
        words = [allow_fresh] if isinstance(allow_fresh, str) else list(allow_fresh)
        roles = frozenset(word for word in words if word in ("head", "stem"))
        return cls(roles, tuple(word for word in words if word not in roles))

    def names(self, key: str) -> bool:
        """Whether a pattern or path covers the tensor."""
        return any(fnmatchcase(key, pattern) or key.startswith(f"{pattern}.") for pattern in self.patterns)

    def covers(self, role: Role) -> bool:
        """Whether tensors of this role may stay fresh."""
        return role in self.roles
