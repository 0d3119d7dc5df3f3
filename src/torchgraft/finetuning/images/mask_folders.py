"""A folder with `images/` and `masks/` in it, whose files have the same names up to the suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torchgraft.errors import DataError
from torchgraft.finetuning.images.folders import image_paths
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.labelling import labelled
from torchgraft.finetuning.images.parts import PARTS

__all__ = ["has_masks", "mask_folder_parts"]

_IMAGES = ("images", "imgs", "image")
_MASKS = ("masks", "labels", "mask", "annotations")


def has_masks(root: Path) -> bool:
    """Whether `root`, or its `train/`, holds a folder of photos and one of masks."""
    return bool(_pairs_of_folders(root))


def mask_folder_parts(
    root: Path,
    *,
    known: Sequence[str] | None = None,
    complete: bool = True,
    classes: Sequence[str] | None = None,
) -> dict[str, Images]:
    """`{"all": …}`, or the parts where `train/` and `val/` each hold such a pair of folders.

    Classes are the lines of `classes.txt` beside the folders, if it is there.

    Raises:
        DataError: A photo lacks its mask, or a mask its photo.
    """
    listed = root / "classes.txt"
    if classes is None and listed.is_file():
        classes = [line.strip() for line in listed.read_text("utf-8").splitlines() if line.strip()]
    found = {part: _paired(photos, masks, root) for part, (photos, masks) in _pairs_of_folders(root).items()}
    paths = [pair for pairs in found.values() for pair in pairs]
    images = labelled(
        [photo for photo, _ in paths],
        [mask for _, mask in paths],
        known=known,
        complete=complete,
        task="segmentation",
        classes=classes,
        names=[photo.relative_to(root).as_posix() for photo, _ in paths],
    )
    parts: dict[str, Images] = {}
    start = 0
    for part, pairs in found.items():
        parts[part] = images.subset(range(start, start + len(pairs)))
        start += len(pairs)
    return {"all": parts["train"]} if set(parts) == {"train"} else parts


def _paired(photos: Path, masks: Path, root: Path) -> list[tuple[Path, Path]]:
    found = {path.relative_to(photos).with_suffix("").as_posix(): path for path in image_paths(photos)}
    others = {path.relative_to(masks).with_suffix("").as_posix(): path for path in image_paths(masks)}
    alone = sorted(set(found) ^ set(others))
    if alone:
        which, lacks = (found, "mask") if alone[0] in found else (others, "image")
        raise DataError(
            f"{which[alone[0]].relative_to(root)} has no {lacks} of the same name"
            + (f" (and {len(alone) - 1} more)" if alone[1:] else ""),
            where=str(root),
        )
    if not found:
        raise DataError("no photos in it", where=str(photos))
    return [(found[stem], others[stem]) for stem in sorted(found)]


def _pairs_of_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    own = _pair(root)
    if own:
        return {"all": own}
    pairs = {}
    for part, names in PARTS.items():
        found = [pair for name in names if (root / name).is_dir() and (pair := _pair(root / name))]
        if found:
            pairs[part] = found[0]
    return pairs if "train" in pairs else {}


def _pair(folder: Path) -> tuple[Path, Path] | None:
    photos = next((folder / name for name in _IMAGES if (folder / name).is_dir()), None)
    masks = next((folder / name for name in _MASKS if (folder / name).is_dir()), None)
    return (photos, masks) if photos is not None and masks is not None else None
