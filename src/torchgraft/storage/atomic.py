"""Files that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from torchgraft.errors import SaveError
from torchgraft.storage.temporaries import new_file, sweep

__all__ = ["as_save_errors", "atomic_file", "new_mode", "sync_folder", "write_text_atomic"]


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its place when the block ends without an error.

    The data is on the disk before the name changes hands. An existing file keeps its permissions, and
    a symbolic link stays one: the file it leads to is replaced. Text is UTF-8. What processes left behind
    that were killed while they wrote this file is removed.

    Args:
        path: The file to write.
        mode: `"wb"` or `"w"`.

    Raises:
        SaveError: The folder is absent or read-only, the disk is full, and the like. Nothing is left
            behind, and a file that was there before is untouched.
    """
    if mode not in {"wb", "w"}:
        raise ValueError(f"mode must be 'wb' or 'w', not {mode!r}")
    shown = Path(path)
    temporary: Path | None = None
    try:
        with as_save_errors(shown):
            target = shown.resolve()
            permissions = _permissions(target)
            sweep(target)
            descriptor, temporary = new_file(target)
            with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(PermissionError):  # some disks have no permissions
                temporary.chmod(permissions)
            temporary.replace(target)
            temporary = None
            sync_folder(target.parent)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all.

    Raises:
        SaveError: As for `atomic_file`.
    """
    with atomic_file(path, "w") as file:
        file.write(text)


@contextlib.contextmanager
def as_save_errors(path: Path) -> Iterator[None]:
    """Within the block, what the disk says of writing to `path` becomes a `SaveError`."""
    try:
        yield
    except OSError as error:
        raise _explain(path, error) from error
    except RuntimeError as error:
        if "Symlink loop" not in str(error):  # pathlib's word for ELOOP before Python 3.13
            raise
        raise SaveError("the path is a symbolic link to itself", where=str(path)) from error


def _permissions(target: Path) -> int:
    try:
        status = target.stat()
    except FileNotFoundError:
        # mkstemp's 0o600 would lock out those who may read an ordinary new file.
        return new_mode(0o666)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return stat.S_IMODE(status.st_mode)


def new_mode(wanted: int) -> int:
    """The permissions that a new file or folder gets which asks for these."""
    mask = os.umask(0)
    os.umask(mask)
    return wanted & ~mask


def sync_folder(folder: Path) -> None:
    """Put the new name on the disk too; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or save to another disk"),
    errno.EDQUOT: ("your quota on this disk is used up", "free some space, or save to another disk"),
    errno.EFBIG: ("the file is too large for this file system", "save to another disk"),
    errno.EROFS: ("the disk is read-only", "save to another folder"),
    errno.EACCES: ("no permission to write there", "save to a folder of yours"),
    errno.EPERM: ("no permission to write there", "save to a folder of yours"),
    errno.EISDIR: ("this is a folder", "add a file name to the path"),
    errno.EBUSY: ("it is in use, or a disk is mounted there", "name a folder inside it"),
    errno.ENAMETOOLONG: ("the file name is too long", "choose a shorter one"),
}


def _explain(path: Path, error: OSError) -> SaveError:
    """What the disk said of writing to `path`, in words, and the next step."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR} and not path.parent.is_dir():
        return SaveError("no such folder", where=str(path.parent), hint=f"mkdir -p {path.parent}")
    what, hint = _REASONS.get(error.errno or 0, (f"can't be written: {error}", None))
    return SaveError(what, where=str(path), hint=hint)
