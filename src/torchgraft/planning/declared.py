"""What the user declared as new: the only parts, beside a changed class count, that may stay untrained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

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

    def notes(self, keys: Collection[str]) -> tuple[str, ...]:
        """One on each pattern that covers none of the model's tensors."""
        idle = [word for word in self.patterns if not any(matches(key, word) for key in keys)]
        if not idle:
            return ()
        known = [*_ROLES, *dict.fromkeys(prefix for key in keys for prefix in _prefixes(key))]
        near = {word: get_close_matches(word, known, n=1) for word in idle}
        return tuple(
            f"{word!r} is declared to stay fresh, but no tensor or module of the model is called so"
            + (f"; did you mean {found[0]!r}?" if found else "")
            for word, found in near.items()
        )

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
