"""What a model sees in some images, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import commonpath, dirname

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

__all__ = ["Guesses", "numbers_view", "predictions_view"]

_BAR = 12
_MOST_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a model says of one image.

    Attributes:
        image: What the image is called, such as its path.
        best: Class names and their probabilities (0 to 1), the most probable first.
        truth: The true class's name, where it is known.
    """

    image: str
    best: tuple[tuple[str, float], ...]
    truth: str | None = None


def predictions_view(predictions: Sequence[Guesses]) -> RenderableType:
    """One line an image and guess; ✓ or ✗ where the truth is known."""
    judged = any(guesses.truth is not None for guesses in predictions)
    predictions = _without_folder(predictions)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    if judged:
        table.add_column("", no_wrap=True)
    table.add_column("image", overflow="fold")
    if judged:
        table.add_column("true", overflow="fold")
    table.add_column("predicted", overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("probability", justify="right", no_wrap=True)
    for guesses in predictions:
        for rank, (label, probability) in enumerate(guesses.best):
            first = rank == 0
            right = label == guesses.truth
            mark = "" if not first or guesses.truth is None else "✓" if right else "✗"
            cells = [
                Text(clean(guesses.image) if first else ""),
                *([Text(clean(guesses.truth or "") if first else "")] if judged else []),
                Text(clean(label), style="bold" if first else "dim"),
                Text("█" * round(_BAR * probability), style="blue" if first else "dim"),
                Text(percent(probability), style="" if first else "dim"),
            ]
            table.add_row(
                *([Text(mark, style="bold green" if right else "bold red")] if judged else []), *cells
            )
    return table


def numbers_view(rows: Sequence[tuple[str, Mapping[str, float]]], *, shares: bool = False) -> RenderableType:
    """One line an image with its numbers by name; as `shares`, in percent, the largest first.

    Of more than 8 the first 8 are shown, of shares the ones that are largest over all images.
    """
    names = list(rows[0][1]) if rows else []
    if shares:
        names = sorted(names, key=lambda name: -sum(row[name] for _, row in rows))
    guesses = _without_folder([Guesses(image, ()) for image, _ in rows])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("image", overflow="fold")
    for name in names[:_MOST_COLUMNS]:
        table.add_column(Text(clean(name, limit=40)), justify="right", overflow="fold")
    for one, (_, row) in zip(guesses, rows, strict=True):
        cells = [Text(percent(row[name]) if shares else f"{row[name]:.4g}") for name in names[:_MOST_COLUMNS]]
        table.add_row(Text(clean(one.image)), *cells)
    return table


def _without_folder(predictions: Sequence[Guesses]) -> list[Guesses]:
    """Paths without the folder that all of them share: what is left tells the images apart."""
    folders = [dirname(guesses.image) for guesses in predictions]
    if not all(folder.startswith("/") for folder in folders):
        return list(predictions)
    shared = commonpath(folders) if folders else ""
    return [replace(guesses, image=guesses.image[len(shared) :].removeprefix("/")) for guesses in predictions]
