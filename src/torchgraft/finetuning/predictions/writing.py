"""Predictions → a table or JSON, one after the other, and masks → PNG files."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from torchgraft.errors import SaveError
from torchgraft.finetuning.predictions.prediction import AnyPrediction, MaskPrediction
from torchgraft.finetuning.requirements import require
from torchgraft.storage.atomic import as_save_errors, atomic_file

__all__ = ["mask_palette", "write_masks", "write_predictions"]

_SUFFIXES = (".csv", ".json", ".jsonl")
_PALETTE_CLASSES = 256


def write_predictions(predictions: Iterable[AnyPrediction], path: str | os.PathLike[str]) -> int:
    """Write what `predict` or `predict_iter` gives, without holding it in memory; the number of images.

    The file is there when all of it is. `.csv` has a line an image, `.jsonl` a JSON object a line, `.json`
    one document, `{"predictions": […]}`. Of masks, the tables hold shares and where the mask was written.

    Raises:
        SaveError: Another suffix, or the file can't be written.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in _SUFFIXES:
        raise SaveError(
            f"{target.suffix or 'no suffix'!r} doesn't say how predictions are written",
            where=str(target),
            hint="end it in .csv, .json or .jsonl",
        )
    with as_save_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as file:
        write = {".csv": _csv, ".json": _json, ".jsonl": _jsonl}[kind]
        return write(predictions, _Text(file))


def write_masks(predictions: Iterable[Any], folder: str | os.PathLike[str]) -> Iterator[Any]:
    """Write each mask as a PNG with a palette (more than 256 classes: 16 bits), and pass it on with its path.

    Files are called as the images are, without what their paths have in front; a second of the same name
    gets a number.

    Raises:
        SaveError: A file can't be written, or there is a prediction that is no mask.
    """
    require("PIL")
    from PIL import Image

    target = Path(folder)
    with as_save_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for one in predictions:
        if not isinstance(one, MaskPrediction):
            raise SaveError(
                "the model gives no masks", where=str(target), hint="leave out the folder for masks"
            )
        name = _free_name(one.name, taken)
        image = Image.fromarray(one.mask)
        if one.mask.dtype.itemsize == 1:
            image.putpalette(mask_palette())
        with atomic_file(target / name) as file:
            image.save(file, format="PNG")
        yield replace(one, path=str(target / name))


def mask_palette() -> bytes:
    """256 colours, R, G, B each, as Pascal VOC's masks have them: a class's bits spread over the colours'."""
    colours = bytearray()
    for number in range(_PALETTE_CLASSES):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= ((number >> (3 * bit + channel)) & 1) << (7 - bit)
        colours += bytes(channels)
    return bytes(colours)


class _Text:
    """What `csv` and `json` write to: text as UTF-8 into a file of bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode(errors="surrogateescape"))


def _csv(predictions: Iterable[AnyPrediction], file: _Text) -> int:
    writer: csv.DictWriter[str] | None = None
    count = 0
    for one in predictions:
        row = one.row()
        if writer is None:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
        count += 1
    return count


def _jsonl(predictions: Iterable[AnyPrediction], file: _Text) -> int:
    count = 0
    for one in predictions:
        file.write(json.dumps(one.to_json()) + "\n")
        count += 1
    return count


def _json(predictions: Iterable[AnyPrediction], file: _Text) -> int:
    count = 0
    file.write('{"predictions": [')
    for one in predictions:
        file.write((",\n" if count else "\n") + json.dumps(one.to_json()))
        count += 1
    file.write("\n]}\n")
    return count


def _free_name(image: str, taken: set[str]) -> str:
    """A file's name for the mask of this image."""
    stem = re.sub(r"[^\w.\- ]", "_", image.replace("\\", "/").rpartition("/")[2].removesuffix("?…"))
    stem = stem.rpartition(".")[0] or stem or "mask"
    name, number = f"{stem}.png", 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name.lower())
    return name
