"""Ops that can do their work in several ways, each with a name."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

from torchgraft.adapting.ops import Op
from torchgraft.errors import AdaptError

__all__ = ["Moded", "effects", "with_mode"]


@runtime_checkable
class Moded(Protocol):
    """An op that has modes, beside what every op has."""

    @property
    def mode(self) -> object:
        """Its mode: a name, or where the op says so a map."""
        ...

    @property
    def effect(self) -> str:
        """What the mode means for the model's outputs, in a few words."""
        ...

    def with_mode(self, mode: object) -> Op:
        """The same step in another mode.

        Raises:
            AdaptError: There is no such mode; those there are are listed.
        """
        ...


def with_mode(ops: tuple[Op, ...], mode: object) -> tuple[Op, ...]:
    """The steps, with those that have such a mode in it.

    Raises:
        AdaptError: None has modes, or not this one.
    """
    if not any(isinstance(op, Moded) for op in ops):
        steps = "; ".join(op.describe() for op in ops) or "it is taken as it is"
        raise AdaptError(f"nothing is done to it in a mode that could be chosen: {steps}")
    changed: list[Op] = []
    refusals: list[AdaptError] = []
    for op in ops:
        try:
            changed.append(cast(Moded, op).with_mode(mode) if isinstance(op, Moded) else op)
        except AdaptError as error:
            changed.append(op)
            refusals.append(error)
    if len(refusals) == sum(isinstance(op, Moded) for op in ops):
        raise refusals[-1]
    return tuple(changed)


def effects(ops: tuple[Op, ...]) -> str:
    """What the modes of these steps mean for the model's outputs; empty where none has modes."""
    return "; ".join(op.effect for op in ops if isinstance(op, Moded) and op.effect)
