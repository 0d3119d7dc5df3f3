"""What this machine has to spare."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_memory", "cores"]

_UNKNOWN = 2 << 30


def available_memory() -> int:
    """Bytes that can be used without driving others out; the smaller of the machine's and the container's.

    Where neither says so, 2 GiB.
    """
    found = [size for size in (_machine(), _container()) if size is not None]
    return min(found, default=_UNKNOWN)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _container() -> int | None:
    """What a container's limit (cgroup 2) leaves; caches of files, which can be dropped, not counted."""
    group = Path("/sys/fs/cgroup")
    try:
        most = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        lines = (group / "memory.stat").read_text("ascii").splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError):
        return None
    return max(most - used + cached, 0)
