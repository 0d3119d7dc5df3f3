"""What a run of the model adds to names: in which order its tensors are used, and which feed which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Flow", "FlowOf", "places"]


@dataclass(frozen=True)
class Flow:
    """How the model uses its tensors.

    Attributes:
        order: A number for each tensor that grows in the order of use.
        above: For each of them those whose results flow into where it is used, with none in between. A set of
            bits: bit k stands for the k-th tensor in `order`. On a residual stream all that wrote to it are
            above, so that sets of names would grow with the square of the depth.
        below: The other way round: those that its result flows into.
        patches: Gives the order in which it flattens an image's patches, by the names of the weights that see
            them: of channels (0), rows (1) and columns (2) the slowest first.
        classes: The class of each of its modules, by path. Known also where it could not be run.
    """

    order: Mapping[str, int]
    above: Mapping[str, int]
    below: Mapping[str, int]
    classes: Mapping[str, str]
    patches: Callable[[], Mapping[str, tuple[int, int, int]]] = dict

    @cached_property
    def bits(self) -> Mapping[str, int]:
        """Which bit stands for a tensor."""
        return {name: bit for bit, name in enumerate(self.order)}

    def names(self, bits: int) -> list[str]:
        """The tensors that these bits stand for."""
        listed = self._listed
        return [listed[bit] for bit in places(bits)]

    @cached_property
    def _listed(self) -> list[str]:
        return list(self.order)


def places(bits: int) -> Iterator[int]:
    """Where the ones are, the lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


FlowOf = Callable[[], Flow]
"""Runs the model, if it can be run; asked only where names and shapes leave a tie."""
