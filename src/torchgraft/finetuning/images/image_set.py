"""One type for every source of photos: what is in it, and what is true of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from torchgraft.errors import DataError
from torchgraft.finetuning.images.masks import IGNORED, read_mask
from torchgraft.finetuning.images.reading import Picture, read_picture

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Images", "unnamed_numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Photos with what is true of them. Nothing is decoded before `image` or `mask` is called.

    | task | a label | `classes` |
    |---|---|---|
    | `classes` | index into `classes` | class names |
    | `multi-label` | ascending indices, a tuple, possibly empty | class names |
    | `regression` | finite floats, a tuple, one for each of `classes` | names of the numbers |
    | `segmentation` | a mask: path, PIL image, array or tensor | names of the mask's numbers |

    Attributes:
        items: A path, PIL image, array, tensor or dataset entry each.
        labels: What is true of each item, as the task has it.
        classes: What is told apart, or measured.
        names: What to call each item in a message: a path under the folder, or `image 17`.
        task: What kind of truth it is.
        groups: What each item belongs to, such as a patient, so that a split keeps it together; or nothing.
        mask_numbers: Which of `classes` each number in a mask is; nothing: number `i` is class `i`.
    """

    items: Sequence[object]
    labels: tuple[Any, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    task: str = "classes"
    groups: tuple[str, ...] = ()
    mask_numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int, channels: int = 3, *, tensors: bool = False) -> Picture:
        """The photo in that many channels; raises `DataError` that names it if it can't be read.

        With `tensors` it may be a uint8 tensor, where that is faster than a PIL image.
        """
        return read_picture(self.items[index], channels, where=self.names[index], tensors=tensors)

    def mask(self, index: int) -> np.ndarray[Any, Any]:
        """The class of each pixel, int64 (height, width); `IGNORED` where there is none.

        Raises `DataError` that names the photo if its mask can't be read or has a number of no class.
        """
        import numpy as np

        mask = read_mask(self.labels[index], where=self.names[index])
        numbers = self.mask_numbers or tuple(range(len(self.classes)))
        of_a_class = mask != IGNORED
        wrong = mask[of_a_class & ((mask < 0) | (mask >= len(numbers)))]
        if wrong.size:
            raise DataError(
                f"its mask has the number {int(wrong[0])}, but there are {len(numbers)} classes, from 0",
                where=self.names[index],
                hint=f"pixels of no class have the number {IGNORED}",
            )
        moved = np.full(mask.shape, IGNORED, dtype=np.int64)
        moved[of_a_class] = np.asarray(numbers)[mask[of_a_class]]
        return moved

    def name(self, index: int) -> str:
        """What to call the photo in a message."""
        return self.names[index]

    def counts(self) -> dict[str, int]:
        """Photos in which each class occurs, also of those without any; for this, masks are read."""
        if self.task == "regression":
            return dict.fromkeys(self.classes, len(self))
        found: Counter[int] = Counter()
        for index, label in enumerate(self.labels):
            found.update(self._present(index) if self.task == "segmentation" else _indices(label))
        return {name: found[index] for index, name in enumerate(self.classes)}

    @property
    def unnamed(self) -> bool:
        """Whether `classes` are only what numbers without names are called."""
        count = len(self.classes)
        return self.task == "regression" and self.classes == unnamed_numbers(count)

    def subset(self, indices: Iterable[int]) -> Images:
        """The photos at these positions, in this order; the classes stay."""
        chosen = list(indices)
        return replace(
            self,
            items=[self.items[i] for i in chosen],
            labels=tuple(self.labels[i] for i in chosen),
            names=tuple(self.names[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen) if self.groups else (),
        )

    def joined(self, others: Images) -> Images:
        """These photos and then the others, which have the same classes."""
        return replace(
            self,
            items=[*self.items, *others.items],
            labels=self.labels + others.labels,
            names=self.names + others.names,
            groups=self.groups + others.groups if self.groups and others.groups else (),
        )

    def with_classes(self, classes: Sequence[str]) -> Images:
        """The same photos, their labels pointing into another list that has the same names in it.

        Classes of which there is no photo may be missing from it; numbers to be predicted, and classes of
        masks, may not. Numbers without names take the list's.

        Raises:
            DataError: The other list lacks names; says which.
        """
        if tuple(classes) == self.classes:
            return self
        if self.task == "regression" and self.unnamed and len(classes) == len(self.classes):
            return replace(self, classes=tuple(classes))
        position = {name: index for index, name in enumerate(classes)}
        if self.task in ("regression", "segmentation"):
            used: Sequence[str] = self.classes
        else:
            used = [name for name, count in self.counts().items() if count]
        missing = [name for name in used if name not in position]
        if missing:
            near = get_close_matches(missing[0], list(classes), n=3)
            known = near or list(classes)[:5]
            what = "numbers" if self.task == "regression" else "classes"
            raise DataError(
                f"{len(missing)} of {len(used)} {what} of the images are unknown to the model: "
                + _listed(missing),
                hint=f"call them by the model's {len(classes)} labels, such as {_listed(known)}",
            )
        moved = [position.get(name, -1) for name in self.classes]
        if self.task == "regression":
            return replace(self, classes=tuple(classes), labels=_columns(self, classes))
        if self.task == "segmentation":
            numbers = tuple(moved[number] for number in self.mask_numbers) or tuple(moved)
            return replace(self, classes=tuple(classes), mask_numbers=numbers)
        if self.task == "multi-label":
            labels = tuple(tuple(sorted(moved[index] for index in label)) for label in self.labels)
        else:
            labels = tuple(moved[label] for label in self.labels)
        return replace(self, classes=tuple(classes), labels=labels)

    def _present(self, index: int) -> Iterable[int]:
        import numpy as np

        return (int(number) for number in np.unique(self.mask(index)) if number != IGNORED)


def unnamed_numbers(count: int) -> tuple[str, ...]:
    """What numbers are called that have no names."""
    return ("value",) if count == 1 else tuple(f"value {index}" for index in range(count))


def _indices(label: Any) -> Iterable[int]:
    return label if isinstance(label, tuple) else (label,)


def _columns(images: Images, names: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The numbers in the order of `names`, each of which must be one of them."""
    position = {name: index for index, name in enumerate(images.classes)}
    absent = [name for name in names if name not in position]
    if absent:
        raise DataError(f"the model also gives numbers that the images lack: {_listed(absent)}")
    return tuple(tuple(label[position[name]] for name in names) for label in images.labels)


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
