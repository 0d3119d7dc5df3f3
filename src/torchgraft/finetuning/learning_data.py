"""The user's data → what to train on, what to validate on, what had to be left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.readable import Unreadable, keep_readable
from torchgraft.finetuning.images.sources import Data, parts_of
from torchgraft.finetuning.images.splitting import split

__all__ = ["LearningData", "learning_data"]


@dataclass(frozen=True, slots=True)
class LearningData:
    """Images to train on and to validate on, which share their classes; `skipped` ones by name."""

    train: Images
    val: Images
    skipped: tuple[str, ...]

    def with_classes(self, classes: Sequence[str]) -> LearningData:
        """The same in another order of the classes."""
        return LearningData(self.train.with_classes(classes), self.val.with_classes(classes), self.skipped)

    def counts(self) -> dict[str, int]:
        """How many images are in which part."""
        return {"train": len(self.train), "val": len(self.val), "skipped": len(self.skipped)}


def learning_data(
    data: Data,
    val: Data | float,
    *,
    known: Sequence[str] | None,
    seed: int,
    channels: int,
    unreadable: Unreadable,
    progress: Callable[[int, int], None],
) -> LearningData:
    """Read, check and split.

    A folder of `train/` and `val/` (or only `test/`) is split already; `val`, if it is a share, then
    has nothing to say. `known` names the classes of labels that are numbers.

    Raises:
        DataError: See `parts_of`, `keep_readable` and `split`; or there is only one class.
    """
    parts = parts_of(data, known=known)
    whole = parts.get("all") or parts["train"]
    if not isinstance(val, (int, float)):
        given = parts_of(val, known=whole.classes, complete=False)
        held_out = given.get("all") or given.get("val") or given.get("test")
        assert held_out is not None
    else:
        held_out = parts.get("val") or parts.get("test")
    if len(whole.classes) < 2:
        raise DataError(
            f"there is only one class, {whole.classes[0]!r}",
            hint="a classifier needs images of two classes or more, each in its own subfolder",
        )
    whole, skipped = keep_readable(whole, channels=channels, unreadable=unreadable, progress=progress)
    if held_out is None:
        assert isinstance(val, (int, float))
        train, held_out = split(_every_class(whole), float(val), seed)
    else:
        train = _every_class(whole)
        held_out, more = keep_readable(
            held_out.with_classes(whole.classes), channels=channels, unreadable=unreadable
        )
        skipped += more
    return LearningData(train, held_out, skipped)


def _every_class(images: Images) -> Images:
    empty = [name for name, count in images.counts().items() if not count]
    if empty:
        raise DataError(
            f"class {empty[0]!r} has no image that can be used to train",
            hint="add images to it, or leave it out of the classes",
        )
    return images
