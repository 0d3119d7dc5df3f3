"""One type for every source of photos: what is in it, and which class each belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from torchgraft.errors import DataError
from torchgraft.finetuning.images.reading import Picture, read_picture

__all__ = ["Images"]


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Photos with their classes. Nothing is decoded before `image` is called.

    Attributes:
        items: A path, PIL image, array, tensor or dataset entry each.
        labels: Index into `classes` for each item.
        classes: Class names.
        names: What to call each item in a message: a path under the folder, or `image 17`.
    """

    items: Sequence[object]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int, channels: int = 3) -> Picture:
        """The photo in that many channels; raises `DataError` that names it if it can't be read."""
        return read_picture(self.items[index], channels, where=self.names[index])

    def name(self, index: int) -> str:
        """What to call the photo in a message."""
        return self.names[index]

    def counts(self) -> dict[str, int]:
        """Photos of each class, also of those without any."""
        found = Counter(self.labels)
        return {name: found[index] for index, name in enumerate(self.classes)}

    def subset(self, indices: Iterable[int]) -> Images:
        """The photos at these positions, in this order; the classes stay."""
        chosen = list(indices)
        return replace(
            self,
            items=[self.items[i] for i in chosen],
            labels=tuple(self.labels[i] for i in chosen),
            names=tuple(self.names[i] for i in chosen),
        )

    def with_classes(self, classes: Sequence[str]) -> Images:
        """The same photos, their labels pointing into another list that has the same names in it.

        Raises `DataError` naming the classes that the other list lacks.
        """
        position = {name: index for index, name in enumerate(classes)}
        used = [name for name, count in self.counts().items() if count]
        missing = [name for name in used if name not in position]
        if missing:
            near = get_close_matches(missing[0], list(classes), n=3)
            known = near or list(classes)[:5]
            raise DataError(
                f"{len(missing)} of {len(used)} classes of the images are unknown to the model: "
                + _listed(missing),
                hint=f"call them by the model's {len(classes)} labels, such as {_listed(known)}",
            )
        moved = [position.get(name, -1) for name in self.classes]
        return replace(self, classes=tuple(classes), labels=tuple(moved[label] for label in self.labels))


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
