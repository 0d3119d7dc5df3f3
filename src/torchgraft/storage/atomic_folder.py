"""Folders that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from torchgraft.errors import SaveError
from torchgraft.storage.atomic import as_save_errors, new_mode, sync_folder

__all__ = ["atomic_folder"]


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, mine: Callable[[str], bool]) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an error.

    Its files are on the disk before the name changes hands. A folder that is there already is replaced
    whole: moved aside, and deleted when the new one stands. Between the two moves there is no folder of
    that name, but never one with files of both.

    Args:
        path: The folder to write.
        mine: Whether a file of this name may be replaced. A folder that holds anything else is left alone.

    Raises:
        SaveError: The disk is full or read-only, something of another name is in the folder, and the
            like. Nothing is left behind, and what was there before is untouched.
    """
    shown = Path(path)
    temporary: Path | None = None
    try:
        with as_save_errors(shown):
            target = shown.resolve()
            _refuse_others(target, shown, mine)
            temporary = Path(
                tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
            )
            yield temporary
            for file in temporary.iterdir():
                _sync_file(file)
            sync_folder(temporary)
            temporary.chmod(new_mode(0o777))
            _refuse_others(target, shown, mine)
            _exchange(temporary, target)
            temporary = None
            sync_folder(target.parent)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _refuse_others(target: Path, shown: Path, mine: Callable[[str], bool]) -> None:
    """A folder with a user's own files in it is not replaced."""
    try:
        others = sorted(entry.name for entry in target.iterdir() if entry.is_dir() or not mine(entry.name))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        if not target.exists():  # something above it is a file
            raise
        raise SaveError("this is a file, not a folder", where=str(shown), hint="name another one") from None
    if others:
        raise SaveError(
            f"this folder holds {others[0]!r}{', …' if len(others) > 1 else ''}, "
            "and would be replaced as a whole",
            where=str(shown),
            hint="name a new folder, or one inside it",
        )


def _exchange(temporary: Path, target: Path) -> None:
    """Put the new folder where the old one is; if that fails, the old one is put back."""
    aside = temporary.with_suffix(".old")
    try:
        target.rename(aside)
    except FileNotFoundError:
        temporary.rename(target)
        return
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:  # Windows syncs only what is open for writing
            raise
    finally:
        os.close(descriptor)
