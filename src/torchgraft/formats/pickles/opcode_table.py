"""Where the opcodes are registered: one function for each, looked up by the opcode's byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torchgraft.formats.pickles.machine import Machine

__all__ = ["HANDLERS", "Handler", "number", "opcode"]

Handler: TypeAlias = Callable[[Machine, int], int]
"""Carries out an opcode, given where its argument begins; returns where the next opcode is."""


def _unknown(_m: Machine, _at: int) -> int:
    raise ValueError("there is no such opcode")


HANDLERS: list[Handler] = [_unknown] * 256


def opcode(code: str) -> Callable[[Handler], Handler]:
    """Register a function under an opcode, given as `pickletools` writes it."""

    def register(handler: Handler) -> Handler:
        HANDLERS[code.encode("latin-1")[0]] = handler
        return handler

    return register


def number(m: Machine, at: int, width: int, *, signed: bool = False) -> int:
    """A whole number of `width` bytes."""
    if width < 0 or at + width > len(m.data):
        raise IndexError(f"{width} bytes are announced")
    return int.from_bytes(m.data[at : at + width], "little", signed=signed)
