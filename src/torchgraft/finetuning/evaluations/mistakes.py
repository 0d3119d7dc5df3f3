"""The images that a model is most wrong about."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from torchgraft.finetuning.images.image_set import Images

__all__ = ["Mistake", "worst"]

_MOST = 24


@dataclass(frozen=True, slots=True)
class Mistake:
    """One image and a bad answer.

    Attributes:
        index: The image's position among those that were evaluated, from 0.
        name: What it is called.
        path: Its file, if it is one.
        truth: What is right, in words.
        guess: What the model says, in words.
        probability: How sure it is of that, 0 to 1; `None` where a task has no such number.
        loss: The image's own loss.
    """

    index: int
    name: str
    path: str | None
    truth: str
    guess: str
    probability: float | None
    loss: float

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)


def worst(
    losses: np.ndarray[Any, Any],
    images: Images | None,
    words: Callable[[int], tuple[str, str, float | None]],
    *,
    among: Sequence[int] | None = None,
    most: int = _MOST,
) -> tuple[Mistake, ...]:
    """The images of the highest loss, the worst first; of equals, the earlier.

    Args:
        losses: One an image.
        images: Give names and paths; nothing is named without.
        words: Position → truth, guess and the guess's probability.
        among: Positions that count as mistakes; all, where not given.
        most: How many at most.
    """
    if images is None:
        return ()
    chosen = sorted(range(len(losses)) if among is None else among, key=lambda i: (-losses[i], i))[:most]
    found = []
    for index in chosen:
        item = images.items[index]
        path = os.fspath(item) if isinstance(item, (str, os.PathLike)) else None
        truth, guess, probability = words(index)
        loss = float(losses[index])
        found.append(Mistake(index, images.names[index], path, truth, guess, probability, loss))
    return tuple(found)
