"""Folders that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from torchgraft.errors import SaveError
from torchgraft.storage.atomic import as_save_errors, new_mode, sync_folder
from torchgraft.storage.exchanging import exchange
from torchgraft.storage.temporaries import hold, left_over, new_folder, sweep

__all__ = ["atomic_folder", "can_replace", "sync_tree"]

_TRIES = 10


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, mine: Callable[[str], bool]) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an error.

    Its files are on the disk before the name changes hands. A folder that is there already is replaced
    whole: the two exchange their names in one step, and the old one is then deleted. Where the system or
    the disk has no such step (Windows, some network drives), the old one is moved aside first; a process
    that is killed just then leaves it beside `path`, and the next save puts it back.

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
        with contextlib.ExitStack() as held, as_save_errors(shown):
            target = shown.resolve()
            _put_back(target)
            _refuse_others(target, shown, mine)
            sweep(target)
            while temporary is None:
                temporary = new_folder(target)
                if not held.enter_context(hold(temporary)):
                    temporary = None  # taken for a left-over one before it was held
            yield temporary
            sync_tree(temporary)
            with contextlib.suppress(PermissionError):  # some disks have no permissions
                temporary.chmod(new_mode(0o777))
            _refuse_others(target, shown, mine)
            _take_place(temporary, target)
            sync_folder(target.parent)
    finally:
        if temporary is not None:  # or, by now, the old one
            shutil.rmtree(temporary, ignore_errors=True)


def can_replace(path: Path) -> bool:
    """Whether a folder at `path` can be written, or replaced by another one, in one step.

    Not so if a disk is mounted there, if this process works in it, if the folder it is in may not be written
    to, or if the system can't.
    """
    target = path.resolve()
    if not target.exists():
        return True
    if target.is_mount() or Path.cwd().is_relative_to(target):
        return False
    with contextlib.ExitStack() as made:
        try:
            one = new_folder(target)
            made.callback(shutil.rmtree, one, ignore_errors=True)
            other = new_folder(target)
            made.callback(shutil.rmtree, other, ignore_errors=True)
            return exchange(one, other)
        except OSError:
            return False


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


def _take_place(temporary: Path, target: Path) -> None:
    """Put the new folder where the old one is; the old one, if any, then has the temporary name."""
    for _ in range(_TRIES):  # others may write or delete it at the same time
        try:
            temporary.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
        try:
            if exchange(temporary, target):
                return
        except FileNotFoundError:
            continue
        with hold(target) as free:
            if free:
                _move_aside(temporary, target)
                return
    raise SaveError("others keep writing it too", where=str(target), hint="save to another folder")


def _move_aside(temporary: Path, target: Path) -> None:
    """The same in two steps; if the second fails, the first is undone."""
    aside = temporary.with_suffix(".old")
    target.rename(aside)
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(target: Path) -> None:
    """The old folder, if a process was killed after it had moved it aside and before the new one stood."""
    if target.exists():
        return
    for path, _ in left_over(target):
        if path.suffix == ".old":
            with hold(path) as unused:
                if unused:
                    path.rename(target)
                    return


def sync_tree(folder: Path) -> None:
    """Put it on the disk: files first, then the folders that name them."""
    for inner, _, files in os.walk(folder, topdown=False):
        for file in files:
            _sync_file(Path(inner) / file)
        sync_folder(Path(inner))


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:  # Windows syncs only what is open for writing
            raise
    finally:
        os.close(descriptor)
