"""A folder with one subfolder a class, possibly twice: under `train/` and under `val/`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.parts import PARTS

__all__ = ["IMAGE_SUFFIXES", "folder_parts", "image_folder", "image_paths"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".npy", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)

_log = logging.getLogger(__name__)


def image_folder(path: str | os.PathLike[str]) -> Images:
    """The photos under `path`, one subfolder a class.

    Classes and photos are sorted by name; folders inside a class's folder belong to it; names that
    start with a dot are ignored; suffixes are compared without regard to case.

    Raises:
        DataError: No such folder, no photos, a class without photos, photos beside no class folder,
            or a folder of `train/` and `val/` (`finetune` and `evaluate` take those).
    """
    root = _existing(path)
    if "train" in _part_folders(root):
        raise DataError("it has train/ and val/ folders, not classes", where=str(root))
    return _classes_under(root, root)


def folder_parts(path: str | os.PathLike[str]) -> dict[str, Images]:
    """`{"all": …}` for a folder of classes; `train`, `val` and `test`, as far as there, for a split one.

    The parts share one list of classes, that of `train`.
    """
    root = _existing(path)
    folders = _part_folders(root)
    if "train" not in folders:
        return {"all": _classes_under(root, root)}
    parts = {name: _classes_under(folder, root) for name, folder in folders.items()}
    classes = parts["train"].classes
    for name, part in parts.items():
        unknown = sorted(set(part.classes) - set(classes))
        if unknown:
            raise DataError(
                f"{folders[name].name}/ has classes that train/ has not: {', '.join(unknown)}",
                where=str(root),
            )
        parts[name] = part.with_classes(classes)
    return {"all": parts["train"]} if set(parts) == {"train"} else parts


def image_paths(folder: Path) -> list[Path]:
    """Every photo under `folder`, sorted by its path in it; links are followed, but never in a circle."""
    return sorted(_walk(folder, frozenset()), key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    above = above | {folder.resolve()}
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.resolve() not in above:
                yield from _walk(entry, above)
        elif entry.suffix.lower() in IMAGE_SUFFIXES:
            yield entry


def _classes_under(folder: Path, root: Path) -> Images:
    subfolders = _subfolders(folder)
    found = {sub.name: image_paths(sub) for sub in subfolders}
    if not any(found.values()):
        loose = image_paths(folder)
        raise DataError(
            f"{len(loose)} photos, but no class folders" if loose else "no photos in it",
            where=str(folder),
            hint="put the photos into one subfolder per class: photos/cat/1.jpg, photos/dog/2.jpg",
        )
    empty = [name for name, paths in found.items() if not paths]
    if empty:
        raise DataError(
            f"no photos in class folder {empty[0]!r}" + (f" and {len(empty) - 1} more" if empty[1:] else ""),
            where=str(folder),
            hint=f"remove it, or add photos ({' '.join(sorted(IMAGE_SUFFIXES))})",
        )
    loose_files = sum(1 for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
    if loose_files:
        _log.warning("%s: %d photos outside any class folder are ignored", folder, loose_files)
    paths = [path for name in found for path in found[name]]
    return Images(
        items=paths,
        labels=tuple(index for index, name in enumerate(found) for _ in found[name]),
        classes=tuple(found),
        names=tuple(path.relative_to(root).as_posix() for path in paths),
    )


def _part_folders(root: Path) -> dict[str, Path]:
    """Which subfolders are parts of a split; none where `train` is itself a class's folder of photos."""
    by_name = {sub.name.lower(): sub for sub in _subfolders(root)}
    parts: dict[str, Path] = {}
    for part, names in PARTS.items():
        hits = [by_name[name] for name in names if name in by_name]
        if hits and _subfolders(hits[0]):
            parts[part] = hits[0]
    return parts if "train" in parts else {}


def _subfolders(folder: Path) -> list[Path]:
    subs = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return sorted(subs, key=lambda sub: sub.name)


def _existing(path: str | os.PathLike[str]) -> Path:
    root = Path(path)
    if not root.is_dir():
        what, hint = ("not a folder", None) if root.exists() else ("no such folder", "check the path")
        raise DataError(what, where=str(root), hint=hint)
    return root
