"""Two layers that are the same."""

from __future__ import annotations

from typing import NamedTuple

from torchgraft.matching.structure_modules import Module

__all__ = ["Link"]


class Link(NamedTuple):
    """Two modules that are the same layer, and why."""

    source: Module
    target: Module
    why: str
