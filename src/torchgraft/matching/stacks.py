"""Rows of numbered blocks under one name, such as a transformer's layers or a ResNet's stage."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torchgraft.matching.structure_modules import Module

__all__ = ["Path", "Stack", "stacks_of"]

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """Numbered blocks under one name: their paths, and what each holds."""

    name: str
    blocks: tuple[Path, ...]
    kinds: tuple[Hashable, ...]


def stacks_of(modules: Sequence[Module]) -> list[Stack]:
    """All stacks whose blocks are more than a single layer."""
    held: dict[Path, Counter[Hashable]] = defaultdict(Counter)
    numbers: dict[Path, dict[int, Path]] = defaultdict(dict)
    for module in modules:
        for depth, component in enumerate(module.path):
            numbered = _NUMBERED.fullmatch(component)
            if numbered is None:
                continue
            block = module.path[: depth + 1]
            held[block][module.signature(squeezed=True)] += 1
            numbers[(*module.path[:depth], numbered[1])][int(numbered[2])] = block
    stacks = []
    for name, blocks in numbers.items():
        paths = tuple(blocks[number] for number in sorted(blocks))
        kinds = tuple(frozenset(held[path].items()) for path in paths)
        if any(held[path].total() > 1 for path in paths):
            stacks.append(Stack(".".join(filter(None, name)), paths, kinds))
    return stacks
