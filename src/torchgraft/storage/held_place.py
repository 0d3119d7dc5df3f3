"""Tells whether a path still leads to the folder that it led to."""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path

__all__ = ["HeldPlace"]


class HeldPlace:
    """A folder that is kept open, so that no other can be mistaken for it: deleted ones' numbers are reused.

    Args:
        folder: Which.

    Raises:
        OSError: It is absent.
    """

    def __init__(self, folder: Path) -> None:
        self._identity = folder.stat()
        if sys.platform != "win32":  # there, what is open can't be replaced
            with contextlib.suppress(PermissionError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                weakref.finalize(self, os.close, descriptor)
                self._identity = os.fstat(descriptor)

    def is_still(self, folder: Path) -> bool:
        """Whether that is what this path leads to."""
        try:
            return os.path.samestat(self._identity, folder.stat())
        except OSError:
            return False
