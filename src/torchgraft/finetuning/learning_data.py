"""The user's data → what to train on, what to validate on, what had to be left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torchgraft.errors import DataError
from torchgraft.finetuning.images.duplicates import Duplicates, find_duplicates
from torchgraft.finetuning.images.image_data import ImageData, told_of
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.readable import Once, Unreadable, keep_readable
from torchgraft.finetuning.images.sources import Data, parts_of
from torchgraft.finetuning.images.splitting import split

__all__ = ["LearningData", "learning_data"]

_UNEVEN = 5.0
"""How many times as many images the largest class has as the smallest, for it to be worth a note."""


@dataclass(frozen=True, slots=True)
class LearningData:
    """Images to train on and to validate on, which share their classes.

    Attributes:
        train: To learn from.
        val: To choose the best epoch by.
        skipped: Names of those that can't be read and were left out.
        duplicates: What is on both sides.
    """

    train: Images
    val: Images
    skipped: tuple[str, ...]
    duplicates: Duplicates = field(default_factory=Duplicates)

    def with_classes(self, classes: Sequence[str]) -> LearningData:
        """The same in another order of the classes."""
        return replace(self, train=self.train.with_classes(classes), val=self.val.with_classes(classes))

    def counts(self) -> dict[str, int]:
        """How many images are in which part."""
        return {"train": len(self.train), "val": len(self.val), "skipped": len(self.skipped)}

    @property
    def imbalance(self) -> float | None:
        """How many times as many training images the largest class has as the smallest; only of classes."""
        if self.train.task not in ("classes", "multi-label"):
            return None
        counts = [count for count in self.train.counts().values() if count]
        return max(counts) / min(counts) if counts else None

    def notes(self) -> tuple[str, ...]:
        """What the user should know before training, one line each."""
        lines = self.duplicates.notes()
        if self.imbalance is None:
            return tuple(lines)
        counts = sorted(self.train.counts().items(), key=lambda pair: -pair[1])
        if self.imbalance > _UNEVEN:
            shown = [f"{name} {count:,}" for name, count in counts]
            if len(shown) > 6:
                shown = [*shown[:3], "…", *shown[-3:]]
            lines.append(
                f"the largest class has {self.imbalance:.0f} times the images of the smallest "
                f"({', '.join(shown)}): balanced accuracy says more than accuracy, and class weights may help"
            )
        learned = {name for name, count in counts if count}
        absent = [name for name, count in self.val.counts().items() if not count and name in learned]
        if absent:
            more = f" and {len(absent) - 5} more" if absent[5:] else ""
            lines.append(f"no validation image of {', '.join(absent[:5])}{more}: nothing is measured of it")
        return tuple(lines)


def learning_data(
    data: Data,
    val: Data | float,
    *,
    known: Sequence[str] | None,
    seed: int,
    channels: int,
    unreadable: Unreadable,
    progress: Callable[[int, int], None],
    task: str | None = None,
    once: Once = lambda find: find(),
) -> LearningData:
    """Read, check and split. With several processes, `once` has the first one look into the images.

    A folder of `train/` and `val/` (or only `test/`) is split already; `val`, if it is a share, then
    has nothing to say. `known` names the classes of labels that are numbers.

    Raises:
        DataError: See `parts_of`, `keep_readable` and `split`; or there is only one class.
    """
    parts = parts_of(data, known=known, task=task)
    whole = parts.get("all") or parts["train"]
    if not isinstance(val, (int, float)):
        given = parts_of(val, known=whole.classes, complete=False, task=whole.task)
        held_out = given.get("all") or given.get("val") or given.get("test")
        assert held_out is not None
    else:
        held_out = parts.get("val") or parts.get("test")
    if whole.task in ("classes", "segmentation") and len(whole.classes) < 2:
        raise DataError(
            f"there is only one class, {whole.classes[0]!r}",
            hint="a classifier needs images of two classes or more, each in its own subfolder",
        )
    whole, skipped = keep_readable(
        whole, channels=channels, unreadable=unreadable, progress=progress, once=once
    )
    if held_out is None:
        assert isinstance(val, (int, float))
        train, held_out = split(_every_class(whole), float(val), seed)
    else:
        train = _every_class(whole)
        held_out, more = keep_readable(
            held_out.with_classes(whole.classes), channels=channels, unreadable=unreadable, once=once
        )
        skipped += more
    told = told_of(data)
    return _without_duplicates(LearningData(train, held_out, skipped), told, once)


def _without_duplicates(found: LearningData, told: ImageData, once: Once) -> LearningData:
    """With what is on both sides named, or moved to the training side."""
    if told.duplicates not in ("report", "train", "ignore"):
        raise DataError(f"duplicates={told.duplicates!r} is none of 'report', 'train' and 'ignore'")
    if told.duplicates == "ignore":
        return found
    train, val = found.train, found.val
    duplicates, exact, near = once(lambda: find_duplicates(train, val, near=told.near_duplicates))
    moved = exact | near
    if told.duplicates == "report" or not moved:
        return replace(found, duplicates=duplicates)
    if val.groups:
        together = {val.groups[index] for index in moved}
        moved = {index for index, group in enumerate(val.groups) if group in together}
    if len(moved) == len(val):
        raise DataError(
            "every validation image is among the training images, too",
            hint="duplicates='report' only says so",
        )
    order = range(len(val))
    return LearningData(
        train.joined(val.subset(index for index in order if index in moved)),
        val.subset(index for index in order if index not in moved),
        found.skipped,
        replace(duplicates, moved=len(moved)),
    )


def _every_class(images: Images) -> Images:
    if images.task not in ("classes", "multi-label"):
        return images
    empty = [name for name, count in images.counts().items() if not count]
    if empty:
        raise DataError(
            f"class {empty[0]!r} has no image that can be used to train",
            hint="add images to it, or leave it out of the classes",
        )
    return images
