"""Times several ways of one job side by side, in an order that rotates, after a round that is not counted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["medians", "spread"]


def medians(
    ways: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    clock: Callable[[], float] = time.perf_counter,
    least: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of every counted round, by way.

    Args:
        ways: What is timed.
        rounds: How often, after one round that is not counted.
        clock: Seconds that have passed.
        least: Each time is of as many runs as take so long, divided by their number.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(rounds + 1):
        for name in order:
            begun, runs = clock(), 0
            while not runs or clock() - begun < least:
                ways[name]()
                runs += 1
            if number:
                found[name].append((clock() - begun) / runs)
        order = [*order[1:], order[0]]
    return found


def spread(times: list[float], usual: list[float]) -> str:
    """The ratio of the medians, with the middle half of the rounds' own ratios."""
    ratios = sorted(one / other for one, other in zip(times, usual, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    return f"{statistics.median(times) / statistics.median(usual):.2f} ({low:.2f} to {high:.2f})"
