"""How strongly to regularise: a search on the validation images, as Radford et al. 2021 (CLIP, A.3) do it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["USUAL_STRENGTH", "search_strength", "steadied"]

USUAL_STRENGTH = 1.0
"""For features that are standardised, where nothing is known."""

_COARSE = (-5.0, -3.0, -1.0, 1.0, 3.0)
"""Powers of ten. CLIP's are -6 to 6, of features as they are."""

_FINEST = 0.125
"""Of a decade."""

_TRUST = 20
"""With so many validation images, half of the way from the usual strength is gone."""


def search_strength(loss: Callable[[float], float]) -> tuple[float, dict[float, float]]:
    """The strength with the lowest loss, and the loss of all that were tried.

    Every hundredfold first, then around the best one at half the distance, and again, down to an eighth of
    a decade: 13 strengths instead of the grid's 65. Of equals the strongest wins.
    """
    tried: dict[float, float] = {}

    def best() -> float:
        return min(tried, key=lambda power: (tried[power], -power))

    for power in _COARSE:
        tried[power] = loss(10.0**power)
    step = (_COARSE[1] - _COARSE[0]) / 2
    while step >= _FINEST:
        centre = best()
        for power in (centre - step, centre + step):
            tried[power] = loss(10.0**power)
        step /= 2
    return 10.0 ** best(), {10.0**power: tried[power] for power in sorted(tried)}


def steadied(found: float, images: int) -> float:
    """A strength between the usual one and what was found on so few images, on a scale of logarithms.

    What is best for 4 images is chance: it may be a thousandfold too much or too little for others.
    """
    share = images / (images + _TRUST)
    return float(USUAL_STRENGTH ** (1 - share) * found**share)
