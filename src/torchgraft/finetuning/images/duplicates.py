"""Photos that are on both sides of a split: the same bytes, or nearly the same picture."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.reading import encoded, read_picture
from torchgraft.finetuning.machine import cores

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["Duplicates", "difference_hash", "find_duplicates"]

_NEAR = 3
"""Of 64 bits, how many may differ in pictures that count as nearly the same."""

_DULL = 8
"""Hashes with fewer zeros or ones are of even surfaces, which say nothing: many such pictures share them."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Pairs of (training image, validation image), by name; a validation image occurs once.

    Attributes:
        exact: The same file, or the same pixels of an array.
        near: Pictures that look alike, such as another size or quality of the same photo. Pairs in `exact`
            are left out. Empty if they were not looked for.
        moved: How many validation images were moved to the training side for it.
    """

    exact: tuple[tuple[str, str], ...] = ()
    near: tuple[tuple[str, str], ...] = ()
    moved: int = 0

    def __bool__(self) -> bool:
        return bool(self.exact or self.near)

    def notes(self) -> list[str]:
        """A line for each kind that there is; or what was done about them."""
        if self.moved:
            return [
                f"{self.moved} images that are on both sides of the split were moved to the training side"
            ]
        lines = []
        for pairs, what in ((self.exact, "also in"), (self.near, "nearly the same as one in")):
            if pairs:
                first = ", ".join(f"{held_out} = {train}" for train, held_out in pairs[:3])
                more = f" and {len(pairs) - 3} more" if pairs[3:] else ""
                lines.append(
                    f"{len(pairs)} validation image{'s are' if pairs[1:] else ' is'} {what} the training "
                    f"images, which flatters the score: {first}{more}"
                )
        return lines


def find_duplicates(
    train: Images, val: Images, *, near: bool = False
) -> tuple[Duplicates, set[int], set[int]]:
    """What is on both sides, and the positions in `val` of the exact and the near ones.

    Files are hashed only where another file has the same size; arrays and tensors always. Entries of a
    dataset are not fetched for it. `near` decodes every photo.
    """
    exact = _exact(train, val)
    similar = _near(train, val, set(exact)) if near else {}
    return (
        Duplicates(
            tuple((train.names[of], val.names[index]) for index, of in sorted(exact.items())),
            tuple((train.names[of], val.names[index]) for index, of in sorted(similar.items())),
        ),
        set(exact),
        set(similar),
    )


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each of 8×8 cells is brighter than its left neighbour, from 9×8 grey ones (dHash)."""
    import numpy as np
    from PIL import Image

    cells = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def _exact(train: Images, val: Images) -> dict[int, int]:
    """Position in `val` → that of the first equal one in `train`."""
    sizes = [[_size(item) for item in part.items] for part in (train, val)]
    shared = Counter(set(sizes[0]) - {None}) & Counter(set(sizes[1]) - {None})
    if not shared:
        return {}
    tasks = [
        (part, index)
        for part, images in enumerate((train, val))
        for index in range(len(images))
        if sizes[part][index] in shared
    ]
    with ThreadPoolExecutor(min(cores(), 8)) as threads:
        digests = list(threads.map(lambda task: _digest((train, val)[task[0]].items[task[1]]), tasks))
    first: dict[bytes, int] = {}
    found: dict[int, int] = {}
    for (part, index), digest in zip(tasks, digests, strict=True):
        if digest is None:
            continue
        if part == 0:
            first.setdefault(digest, index)
        elif digest in first:
            found[index] = first[digest]
    return found


def _size(item: object) -> object:
    """What equal images have in common at the least, for little; `None` where that isn't known."""
    file = encoded(item)
    if isinstance(file, bytes):
        return len(file)
    if isinstance(file, Path):
        try:
            return file.stat().st_size
        except OSError:
            return None
    if hasattr(item, "dtype") and hasattr(item, "shape"):
        return (str(item.dtype), tuple(item.shape))
    return None


def _digest(item: Any) -> bytes | None:
    import numpy as np

    file = encoded(item)
    try:
        if file is None:
            array = np.ascontiguousarray(item.detach().cpu() if hasattr(item, "detach") else item)
            return hashlib.sha256(array.tobytes()).digest()
        return hashlib.sha256(file if isinstance(file, bytes) else file.read_bytes()).digest()
    except OSError:
        return None


def _near(train: Images, val: Images, known: set[int]) -> dict[int, int]:
    import numpy as np

    hashes = []
    with ThreadPoolExecutor(min(cores(), 8)) as threads:
        for part in (train, val):
            tasks = [(item, name) for item, name in zip(part.items, part.names, strict=True)]
            hashes.append(np.array(list(threads.map(_picture_hash, tasks)), dtype=np.uint64))
    found: dict[int, int] = {}
    lively = [_lively(values) for values in hashes]
    candidates = np.flatnonzero(lively[0])
    if not len(candidates):
        return {}
    for index in np.flatnonzero(lively[1]).tolist():
        if index in known:
            continue
        differing = _ones(hashes[0][candidates] ^ hashes[1][index])
        best = int(differing.argmin())
        if differing[best] <= _NEAR:
            found[index] = int(candidates[best])
    return found


def _picture_hash(task: tuple[object, str]) -> int:
    """0, which counts as dull, for what is no photo of 8 bits."""
    from PIL import Image

    item, name = task
    try:
        file = encoded(item)
        if file is not None:
            with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
                image.draft("L", (64, 64))  # for speed; both sides are read in the same way
                return difference_hash(image)
        picture = read_picture(item, 3, where=name)
    except (DataError, OSError, SyntaxError, ValueError):
        return 0
    return difference_hash(picture) if isinstance(picture, Image.Image) else 0


def _lively(hashes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    ones = _ones(hashes)
    lively: np.ndarray[Any, Any] = (ones >= _DULL) & (ones <= 64 - _DULL)
    return lively


def _ones(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How many bits of each are set."""
    import numpy as np

    if hasattr(np, "bitwise_count"):  # from NumPy 2 on
        counts: np.ndarray[Any, Any] = np.bitwise_count(values).astype(np.int64)
        return counts
    bits: np.ndarray[Any, Any] = np.unpackbits(values.view(np.uint8).reshape(len(values), 8), axis=1)
    return bits.sum(axis=1)  # type: ignore[no-any-return]
