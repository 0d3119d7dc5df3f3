"""Which layer a norm belongs to, as far as the checkpoint's names say: `bn2` to `conv2`, `0.1` to `0.0`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from torchgraft.matching.structure_modules import Module

__all__ = ["Siblings"]

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)

_Path = tuple[str, ...]
_Run = tuple[_Path, str, _Path]
"""What is before the numbered word, the word, and what is behind it."""


class Siblings:
    """The matrices among a checkpoint's layers, by what their names share with the other layers' names."""

    def __init__(self, modules: Sequence[Module]) -> None:
        runs: dict[_Run, dict[int, Module]] = defaultdict(dict)
        for module in modules:
            for run, number in _runs(module.path):
                runs[run][number] = module
        self._runs = runs
        self._beside: dict[_Path, list[tuple[str, _Path]]] = defaultdict(list)
        for parent, word, rest in runs:
            self._beside[parent].append((word, rest))
        self._inside: dict[_Path, list[Module]] = defaultdict(list)
        for module in modules:
            if module.is_matrix:
                for depth in range(len(module.path) + 1):
                    self._inside[module.path[:depth]].append(module)

        self._votes = Counter(
            _side(module, owner)
            for module in modules
            if not module.is_matrix and (owner := self.owner(module)) is not None
        )

    def after(self, module: Module) -> Module | None:
        """The one matrix whose result this module takes, if its name says so.

        A norm may stand before the layer of its number (DenseNet) or after it: its size tells, and where the
        layer is square, the others of the checkpoint tell, if they agree.
        """
        owner = self.owner(module)
        if owner is None:
            return None
        side = _side(module, owner)
        if side == "either" and not self._votes["before"] and self._votes["after"]:
            side = "after"
        return owner if side == "after" else None

    def owner(self, module: Module) -> Module | None:
        """The one matrix that this module belongs to, if its name says so."""
        return self._alone_with(module) or self._of_its_number(module) or self._before(module)

    def _alone_with(self, module: Module) -> Module | None:
        """The only matrix in the same container: `conv_3x3.normalization` and `conv_3x3.convolution`."""
        if len(module.path) < 2:
            return None
        near = self._inside[module.path[:-1]]
        return near[0] if len(near) == 1 else None

    def _of_its_number(self, module: Module) -> Module | None:
        """The matrix of the same number in the one run of siblings that has the same numbers."""
        for (parent, word, rest), number in reversed(_runs(module.path)):
            mine = self._runs[parent, word, rest]
            found = [
                run[number]
                for other in self._beside[parent]
                if other[0] != word
                and (run := self._runs[(parent, *other)]).keys() == mine.keys()
                and all(owner.is_matrix for owner in run.values())
                and self._all_after(mine, run)
            ]
            if len(mine) > 1 and len(found) == 1:
                return found[0]
        return None

    @staticmethod
    def _all_after(modules: Mapping[int, Module], owners: Mapping[int, Module]) -> bool:
        """Whether each can take the result of the one of its number: `linear1` feeds no `norm1`."""
        return all(_side(module, owners[number]) in ("after", "either") for number, module in modules.items())

    def _before(self, module: Module) -> Module | None:
        """The matrix one place before in an `nn.Sequential`."""
        last = module.path[-1] if module.path else ""
        if not last.isdecimal():
            return None
        (run, number), *_ = reversed(_runs(module.path))
        before = self._runs[run].get(number - 1)
        return before if before is not None and before.is_matrix else None


def _side(module: Module, owner: Module) -> Literal["before", "after", "either", "none"]:
    """Where a module of this size can stand."""
    size, shape = module.main.numel, owner.main.shape
    outputs, inputs = size == shape[0], len(shape) > 1 and size == shape[1]
    if outputs and inputs:
        return "either"
    return "after" if outputs else "before" if inputs else "none"


def _runs(path: _Path) -> list[tuple[_Run, int]]:
    """The runs of numbered siblings that a path is in, and its number there.

    The word of a number that stands alone is what is before it, up to the number before: `batch.norm.3` and
    `conv.3` are side by side.
    """
    found: list[tuple[_Run, int]] = []
    start = 0
    for at, component in enumerate(path):
        match = _NUMBERED.fullmatch(component)
        if match is None:
            continue
        parent = at if match[1] else start
        word = ".".join((*path[parent:at], match[1]))
        found.append(((path[:parent], word, path[at + 1 :]), int(match[2])))
        start = at + 1
    return found
