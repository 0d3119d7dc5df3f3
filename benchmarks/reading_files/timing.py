"""Pieces of code side by side: each in a process of its own, in turns, so that all meet the same noise."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Cost", "interleaved"]

_AROUND = """
import json, sys, time
PATHS = sys.argv[1:]
{imports}
def rss(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) << 10
had, began = rss("VmRSS"), time.perf_counter()
{code}
took = time.perf_counter() - began
print(json.dumps([took, max(0, rss("VmHWM") - had)]))
"""


@dataclass(frozen=True)
class Cost:
    """Medians over the turns.

    Attributes:
        process: Seconds of the whole process, Python's start and imports included.
        cpu: Seconds of computing in it, in the program and in the system for it: faults of pages are in here.
        seconds: Seconds of the code alone, imports done.
        memory: Bytes by which resident memory grew at most meanwhile: its own and of files.
    """

    process: float
    cpu: float
    seconds: float
    memory: float


def _once(imports: str, code: str, paths: Sequence[str]) -> tuple[float, float, float, float]:
    program = _AROUND.format(imports=imports, code=code)
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", program, *paths], stdout=subprocess.PIPE)
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    process = time.perf_counter() - began
    child.returncode = status
    child.stdout.close()
    if status:
        raise RuntimeError(f"a contender failed:\n{code}")
    seconds, memory = json.loads(printed.splitlines()[-1])
    return process, usage.ru_utime + usage.ru_stime, seconds, memory


def interleaved(contenders: Mapping[str, tuple[str, str, Sequence[str]]], turns: int) -> dict[str, Cost]:
    """The cost of each: imports, code and the paths it finds in `PATHS`. Which goes first rotates."""
    names = list(contenders)
    taken: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
    for turn in range(turns + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            cost = _once(*contenders[name])
            if turn:  # the first one warms the cache of files
                taken[name].append(cost)
    return {name: Cost(*map(statistics.median, zip(*costs, strict=True))) for name, costs in taken.items()}
