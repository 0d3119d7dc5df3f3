"""Temporary files and folders beside what is written: their names, and what dead processes left of them.

Whoever writes one holds a lock on it, which the system lets go when the process ends, however it ends. What
can be locked is left over, so it is removed when the same thing is saved again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["hold", "left_over", "new_file", "new_folder", "remove_if_dead", "sweep"]

_LONGEST = 100  # bytes of the name that are shown: with the rest it must stay under 255
_DAY = 24 * 3600


def new_file(target: Path) -> tuple[int, Path]:
    """A new empty file beside `target`, open and locked; closing it lets go of the lock."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_prefix(target.name), suffix=".part", dir=target.parent)
        if _lock(descriptor) and _is_at(descriptor, name):
            return descriptor, Path(name)
        os.close(descriptor)  # it was taken for a left-over one before it was locked


def new_folder(target: Path) -> Path:
    """A new empty folder beside `target`; `hold` it while it is written."""
    return Path(tempfile.mkdtemp(prefix=_prefix(target.name), suffix=".part", dir=target.parent))


@contextlib.contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Within the block, this file or folder is in use; `False` if it is gone or somebody else holds it.

    Where the file system has no locks, it can't be marked, and this is `True` too.
    """
    if sys.platform == "win32":  # what is open there can't be deleted, and folders can't be opened
        yield True
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        yield _lock(descriptor) and _is_at(descriptor, path)
    finally:
        os.close(descriptor)


def sweep(target: Path) -> None:
    """Remove what processes left beside `target` that were killed while they wrote it."""
    for path, here in left_over(target):
        if path.suffix == ".part" or target.exists():
            remove_if_dead(path, here=here)


def left_over(target: Path) -> list[tuple[Path, bool]]:
    """What is temporary beside `target`, and whether it was made on this machine since it was started.

    Names end in `.part`; in `.old` if it is what was there before.
    """
    pattern = re.compile(re.escape(_shown(target.name)) + r"([0-9a-f]{8})-\w{8}\.(?:part|old)")
    try:
        names = sorted(os.listdir(target.parent))  # noqa: PTH208 (a folder of many files, names are enough)
    except OSError:
        return []
    found = [(name, pattern.fullmatch(name)) for name in names]
    return [(target.parent / name, match[1] == _machine()) for name, match in found if match]


def remove_if_dead(path: Path, *, here: bool = True) -> None:
    """Remove a file or folder that nobody holds.

    Args:
        path: Which.
        here: Whether it was made on this machine since it was started: only then its locks say all. Of
            others, only what nobody has written to for a day is removed.
    """
    with contextlib.suppress(OSError):
        if not here and time.time() - path.lstat().st_mtime < _DAY:
            return
        with hold(path) as unused:
            if not unused or sys.platform == "win32":
                return
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _shown(name: str) -> str:
    return "." + os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore") + "."


def _prefix(name: str) -> str:
    return f"{_shown(name)}{_machine()}-"


@functools.cache
def _machine() -> str:
    """Tells apart the machines that share a file system, and this one before and after a restart."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        identity = platform.node()
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def _lock(descriptor: int) -> bool:
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # not every file system can
            return True
    return True


def _is_at(descriptor: int, path: str | Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
