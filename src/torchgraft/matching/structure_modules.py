"""Names to modules: the tensors of one layer belong together, whatever their last component is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torchgraft.matching.naming import COUNTER
from torchgraft.matching.pieces import Piece

__all__ = ["COUNTER", "Module", "Signature", "by_signature", "modules_of"]

Signature = tuple[tuple[str, tuple[int, ...]], ...]
"""A module's leaves with their shapes, sorted. A lone leaf's name says nothing, so it is ""."""


@dataclass(frozen=True, eq=False)
class Module:
    """A layer, as far as names and shapes tell.

    Attributes:
        path: Components of its name.
        leaves: Its tensors by canonical leaf name.
        order: Its place in the file.
    """

    path: tuple[str, ...]
    leaves: Mapping[str, Piece]
    order: int

    @property
    def name(self) -> str:
        """The path, dotted."""
        return ".".join(self.path)

    @property
    def given(self) -> tuple[str, ...]:
        """Its path as the file spells it."""
        *path, last = self.main.name.split(".")
        return tuple(path) or (last,)

    @property
    def main(self) -> Piece:
        """The tensor that stands for it in messages."""
        return max(self.leaves.values(), key=lambda tensor: (tensor.numel, tensor.name.endswith("weight")))

    def signature(self, *, squeezed: bool = False) -> Signature:
        """What must agree for two modules to be the same layer; `squeezed` ignores sizes of 1."""
        return self._squeezed if squeezed else self._plain

    @cached_property
    def _plain(self) -> Signature:
        return self._signature(squeezed=False)

    @cached_property
    def _squeezed(self) -> Signature:
        return self._signature(squeezed=True)

    def _signature(self, *, squeezed: bool) -> Signature:
        leaves = [(leaf, tensor) for leaf, tensor in self.leaves.items() if leaf != COUNTER]
        if not leaves:
            return ()
        return tuple(
            sorted(
                (leaf if len(leaves) > 1 else _kind(tensor), _shape(tensor, squeezed))
                for leaf, tensor in leaves
            )
        )

    @cached_property
    def is_matrix(self) -> bool:
        """Whether it maps between two sizes, as a convolution does and a norm does not."""
        return any(sum(size != 1 for size in tensor.shape) > 1 for tensor in self.leaves.values())


def modules_of(tensors: Iterable[Piece]) -> list[Module]:
    """The modules of a list of tensors, in the order of their first tensors."""
    leaves: dict[tuple[str, ...], dict[str, Piece]] = {}
    for tensor in tensors:
        path, leaf = tensor.path, tensor.leaf
        if leaf in leaves.get(path, ()):  # `gamma` beside `weight`: then it is none of the module's own
            path, leaf = (*path, tensor.name.rpartition(".")[2]), ""
        leaves.setdefault(path, {})[leaf] = tensor
    return [Module(path, of, order) for order, (path, of) in enumerate(leaves.items())]


def _kind(tensor: Piece) -> str:
    return "" if tensor.dtype.startswith(("float", "bfloat", "complex")) else "integers"


def _shape(tensor: Piece, squeezed: bool) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if size != 1) if squeezed else tensor.shape


def by_signature(modules: Sequence[Module], *, squeezed: bool) -> dict[Signature, list[Module]]:
    """The modules grouped by `signature`, counters alone left out."""
    classes: dict[Signature, list[Module]] = {}
    for module in modules:
        signature = module.signature(squeezed=squeezed)
        if signature:
            classes.setdefault(signature, []).append(module)
    return classes
