"""Two files or folders change names in one step, which Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

__all__ = ["exchange"]

_AT_CWD = -100  # AT_FDCWD of Linux
_SWAP = 2  # RENAME_EXCHANGE of Linux's renameat2, and RENAME_SWAP of macOS's renamex_np
_CANT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}


def exchange(one: Path, other: Path) -> bool:
    """Each gets the other's name, at once for all who look; `False` where system or disk can't do that.

    Raises:
        OSError: One is absent, may not be renamed, and the like.
    """
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "renameat2"):
            return False
        failed = libc.renameat2(_AT_CWD, names[0], _AT_CWD, names[1], ctypes.c_uint(_SWAP))
    elif sys.platform == "darwin":
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.renamex_np(*names, ctypes.c_uint(_SWAP))
    else:
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in _CANT:
        return False
    raise OSError(code, os.strerror(code), str(other))
