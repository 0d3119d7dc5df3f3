"""The section with sample photos and what the model sees in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchgraft.report.page.thumbnail import Picture, thumbnail_uri
from torchgraft.report.quantities import percent
from torchgraft.report.safe_text import clean

__all__ = ["Photo", "PhotosSection"]


@dataclass(frozen=True, slots=True)
class Photo:
    """An image and what a model says of it.

    Attributes:
        picture: A path, a pillow image or a `uint8` array.
        guesses: Class names and their probabilities (0 to 1), the most probable first.
        truth: The true class's name, where it is known.
        name: What the image is called, such as its file name.
    """

    picture: Picture
    guesses: tuple[tuple[str, float], ...]
    truth: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class PhotosSection:
    """Photos in a grid, each with its true name, the best guesses, and whether the first one is right."""

    photos: tuple[Photo, ...]
    title: str = "What it sees"
    text: str = ""
    template: ClassVar[str] = "photos.html"

    def view(self) -> Mapping[str, object]:
        """Thumbnails as data URIs, and the guesses' bars."""
        judged = [photo for photo in self.photos if photo.truth is not None]
        right = sum(_right(photo) for photo in judged)
        return {
            "text": self.text,
            "summary": f"{right} of {len(judged)} right." if judged else "",
            "photos": [_card(photo) for photo in self.photos],
        }


def _right(photo: Photo) -> bool:
    return bool(photo.guesses) and photo.guesses[0][0] == photo.truth


def _card(photo: Photo) -> Mapping[str, object]:
    seen = clean(photo.guesses[0][0], limit=80) if photo.guesses else "nothing"
    truth = clean(photo.truth, limit=80) if photo.truth is not None else None
    return {
        "uri": thumbnail_uri(photo.picture),
        "alt": f"{clean(photo.name) or 'Photo'}: {f'{truth}, ' if truth else ''}predicted as {seen}",
        "name": clean(photo.name, limit=80),
        "truth": truth,
        "verdict": None if truth is None else "right" if _right(photo) else "wrong",
        "guesses": [
            (
                clean(label, limit=80),
                percent(share),
                round(100 * min(max(share, 0.0), 1.0), 1),
                label == photo.truth,
            )
            for label, share in photo.guesses
        ],
    }
