"""Numbers as people read them. Rounding never makes something look complete that is not."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["compact", "duration", "mean_sd", "memory", "percent", "plural"]


def compact(n: int) -> str:
    """`4652008` → `4.65 M`."""
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}" if n < 999.5 * factor else f"{n / factor:.0f} {unit}"
    return str(n)


def memory(nbytes: int) -> str:
    """`18766951` → `17.9 MiB`."""
    size = float(nbytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def percent(share: float) -> str:
    """A share of 0 to 1 in percent, one decimal; `100 %` and `0 %` only when they are exact."""
    if not math.isfinite(share):
        return "–"
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """`200.4` → `3 min 20 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plural(n: int, thing: str, things: str | None = None) -> str:
    """`1 tensor`, `2 tensors`, `1,200 tensors`."""
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (`nan` for a single value)."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
