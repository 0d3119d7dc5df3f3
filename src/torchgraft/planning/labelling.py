"""Which class of the checkpoint each class of the model is: by names, or as the user says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from torchgraft.adapting import ClassMap, RowMap, class_names, map_classes
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import DataError
from torchgraft.labels import Labels, comparable, labels_in, read_labels
from torchgraft.model_info import DESCRIPTION_KEY, info_of

__all__ = ["Labelling", "labels_of"]


@dataclass(frozen=True, slots=True)
class Labelling:
    """What is known of the classes on both sides.

    Attributes:
        source: Class names of the checkpoint's head.
        target: Class names of the model's.
        classes: Which old class each new one is, as the user says.
        found: Whether `source` was read off the checkpoint, and not said by the user.
        notes: What is missing, filled on the way.
    """

    source: Sequence[str] | None = None
    target: Sequence[str] | None = None
    classes: ClassMap | None = None
    found: bool = False
    notes: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        checkpoint: Checkpoint,
        source_labels: Labels | None,
        labels: Labels | None,
        class_map: ClassMap | None,
    ) -> Labelling:
        """Read what the user gives; the checkpoint's names also off itself, the model's off its `info_of`.

        Raises:
            DataError: A file of class names can't be read.
        """
        source = read_labels(source_labels) if source_labels is not None else None
        target = class_names(class_map, read_labels(labels) if labels is not None else None)
        wanted = source is not None or target is not None or class_map is not None
        found = source is None and wanted
        if found:
            source = labels_of(checkpoint)
        if target is None and wanted:
            target = info_of(model).labels
        made = cls(*comparable(source, target), class_map, found and source is not None)
        if labels is not None and source is None and class_map is None:
            made._note(
                "labels are given, but the checkpoint does not say its own: no rows are carried over by "
                "name; give them, source_labels= (a list, or a file)"
            )
        elif source_labels is not None and target is None and class_map is None:
            made._note(
                "source_labels are given, but not the model's: no rows are carried over by name; give labels="
            )
        return made

    @property
    def known(self) -> bool:
        """Whether it can be told which class is which."""
        return self.classes is not None or (self.source is not None and self.target is not None)

    @property
    def changes(self) -> bool:
        """Whether classes may lie in another order although their number is the same."""
        return self.known and (self.classes is not None or list(self.source or ()) != list(self.target or ()))

    def rows(self, source_rows: int) -> RowMap | None:
        """Where the row of each class comes from.

        Args:
            source_rows: How many classes the checkpoint's head has.

        Raises:
            AdaptError: A class is not there, or fits several.
        """
        source = self.source
        if self.found and source is not None and len(source) != source_rows:
            self._note(
                f"the checkpoint names {len(source)} classes, its head has {source_rows}: the names are not "
                "used"
            )
            source = None
        height = len(source) if source is not None else source_rows
        return map_classes(self.classes, source=source, target=self.target, source_rows=height)

    def _note(self, text: str) -> None:
        self.notes.setdefault(text)


def labels_of(checkpoint: Checkpoint) -> tuple[str, ...] | None:
    """The class names that a checkpoint says itself, if it does.

    They are looked for in what torchgraft saved with it, in the fields of its metadata (`classes`,
    `class_to_idx`, `id2label`, `names`, …) and in a `config.json` beside it.
    """
    metadata = checkpoint.metadata
    for text in (metadata.get(DESCRIPTION_KEY), metadata.get("config")):
        described = _described(text)
        for part in (described.get("info"), described):
            if (names := labels_in(part)) is not None:
                return names
    for part in (metadata, metadata.get("hyper_parameters"), metadata.get("args"), metadata.get("meta")):
        if (names := labels_in(part)) is not None:
            return names
    if checkpoint.path is None:
        return None
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    beside = folder / "config.json"
    if not beside.is_file():
        return None
    try:
        names = read_labels(beside)
    except DataError:
        return None  # it says other things
    return labels_in({"labels": names})


def _described(text: object) -> Mapping[str, object]:
    if isinstance(text, Mapping):
        return text
    try:
        data = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, Mapping) else {}
