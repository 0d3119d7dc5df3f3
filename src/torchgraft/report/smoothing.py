"""Long noisy series, made fit to be drawn: a smooth line, and no more points than a picture has columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["smoothed", "thinned"]


def smoothed(values: Sequence[float], span: float) -> list[float]:
    """An exponential moving average over about `span` values, without the start's pull to zero (as Adam's).

    What isn't finite is left out of the average, and is `nan` in the result.
    """
    keep = 1 - 2 / (max(span, 1.0) + 1)
    total = weight = 0.0
    result = []
    for value in values:
        if not math.isfinite(value):
            result.append(math.nan)
            continue
        total = keep * total + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        result.append(total / weight)
    return result


def thinned(
    at: Sequence[float], values: Sequence[float], most: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """At most about `most` of the points: of each stretch the least and the greatest, so that spikes stay."""
    if len(values) <= most:
        return tuple(at), tuple(values)
    stretch = -(-len(values) * 2 // most)
    kept: set[int] = {0, len(values) - 1}
    for start in range(0, len(values), stretch):
        finite = [i for i in range(start, min(start + stretch, len(values))) if math.isfinite(values[i])]
        kept.update(
            {min(finite, key=lambda i: values[i]), max(finite, key=lambda i: values[i])}
            if finite
            else {start}
        )
    chosen = sorted(kept)
    return tuple(at[i] for i in chosen), tuple(values[i] for i in chosen)
