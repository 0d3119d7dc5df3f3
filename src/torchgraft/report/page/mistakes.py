"""The section with the images that a model gets most wrong, and where it looked."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from markupsafe import Markup

from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.finetuning.runs.recorded_run import RecordedMistake

__all__ = ["MistakesSection"]


@dataclass(frozen=True, slots=True)
class MistakesSection:
    """Images in a grid: what each is, what it is taken for, and the part of it that decided."""

    mistakes: Sequence[RecordedMistake]
    title: str = "Where it is most wrong"
    text: str = ""
    template: ClassVar[str] = "mistakes.html"
    styles: ClassVar[tuple[str, ...]] = ("mistakes.css",)
    scripts: ClassVar[tuple[str, ...]] = ("mistakes.js",)

    def view(self) -> Mapping[str, object]:
        """Pictures as data URIs, and the guesses' bars."""
        return {
            "text": self.text,
            "cards": [_card(mistake) for mistake in self.mistakes],
            "pictures": any(mistake.picture for mistake in self.mistakes),
            "saliency": any(mistake.saliency for mistake in self.mistakes),
        }


def _card(mistake: RecordedMistake) -> Mapping[str, object]:
    truth, guess = clean(mistake.truth, limit=80), clean(mistake.guess, limit=80)
    name = clean(mistake.name, limit=120)
    sure = mistake.probability
    return {
        "name": name,
        "truth": truth,
        "guess": guess,
        "sure": None if sure is None else percent(sure),
        "bar": None if sure is None else round(100 * min(max(sure, 0.0), 1.0), 1),
        "alt": f"{name or 'Image'}: {f'{truth}, ' if truth else ''}the model says {guess}",
        "picture": _uri(mistake.picture),
        "saliency": _uri(mistake.saliency),
    }


def _uri(jpeg: bytes) -> Markup | None:
    if not jpeg:
        return None
    return Markup("data:image/jpeg;base64,") + base64.b64encode(jpeg).decode("ascii")
