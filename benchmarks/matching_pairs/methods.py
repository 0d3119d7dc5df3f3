"""Our own way to load a pair, as a method beside the baselines."""

from __future__ import annotations

import time

import torchgraft as tg
from matching_pairs.judge import Case, Refused


def ours(case: Case) -> tuple[float, list[str]]:
    """Plan and apply; the seconds are those of planning."""
    try:
        began = time.perf_counter()
        plan = tg.plan(case.target, case.held, **case.pair.arguments)
        taken = time.perf_counter() - began
        plan.apply()
    except tg.TorchgraftError as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
    return taken, [str(doubt) for doubt in getattr(plan, "doubts", ())]
