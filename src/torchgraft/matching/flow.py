"""What a run of the model adds to names: in which order its tensors are used, and which feed which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Flow", "FlowOf"]


@dataclass(frozen=True, slots=True)
class Flow:
    """How the model uses its tensors.

    Attributes:
        order: A number for each tensor that grows in the order of use.
        feeds: For each of them those whose results flow into where it is used, with none in between.
        patches: Gives the order in which it flattens an image's patches, by the names of the weights that see
            them: of channels (0), rows (1) and columns (2) the slowest first.
        classes: The class of each of its modules, by path. Known also where it could not be run.
    """

    order: Mapping[str, int]
    feeds: Mapping[str, frozenset[str]]
    classes: Mapping[str, str]
    patches: Callable[[], Mapping[str, tuple[int, int, int]]] = dict


FlowOf = Callable[[], Flow]
"""Runs the model, if it can be run; asked only where names and shapes leave a tie."""
