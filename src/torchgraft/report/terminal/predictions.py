"""What a model sees in some images, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from posixpath import commonpath, dirname

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

__all__ = ["Guesses", "predictions_view"]

_BAR = 12


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


def _without_folder(predictions: Sequence[Guesses]) -> list[Guesses]:
    """Paths without the folder that all of them share: what is left tells the images apart."""
    folders = [dirname(guesses.image) for guesses in predictions]
    if not all(folder.startswith("/") for folder in folders):
        return list(predictions)
    shared = commonpath(folders) if folders else ""
    return [replace(guesses, image=guesses.image[len(shared) :].removeprefix("/")) for guesses in predictions]
