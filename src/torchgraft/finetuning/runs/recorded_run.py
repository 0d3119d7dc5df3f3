"""Reads a run folder, also while the run goes on, also one that somebody sent: nothing is trusted."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torchgraft.errors import DataError

__all__ = ["RUN_MARK", "RecordedMistake", "RecordedRun", "is_run", "read_run", "revision"]

RUN_MARK = "torchgraft_run"
"""The key in `config.json` that says whose folder it is."""

_MOST_BYTES = 64 << 20
_MOST_PICTURE_BYTES = 256 << 10
_MOST_MISTAKES = 48
_MOST_DIGITS = 18
_PICTURE = re.compile(r"[0-9]{1,9}(-saliency)?\.jpg", re.ASCII)
_JPEG = b"\xff\xd8\xff"
_FILES = (
    "config.json",
    "history.jsonl",
    "steps.jsonl",
    "metrics.json",
    "mistakes/mistakes.json",
)


@dataclass(frozen=True, slots=True)
class RecordedMistake:
    """An image that the best model gets wrong.

    Attributes:
        name: What the image is called.
        truth: What is right, in words.
        guess: What the model says, in words.
        probability: How sure it is of that, 0 to 1; `None` where a task has no such number.
        picture: What the model saw of it, a JPEG; or nothing.
        saliency: The same with what the model looked at in the light; or nothing.
    """

    name: str
    truth: str
    guess: str
    probability: float | None = None
    picture: bytes = b""
    saliency: bytes = b""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What a run folder says.

    Attributes:
        path: The folder.
        config: What `config.json` holds: arguments, data, classes, versions, status.
        history: One mapping an epoch, as `Epoch.to_json` gives it.
        steps: One mapping a step of the optimizer, or every few: `step`, `steps`, `epoch`, `loss`, `lr`.
        metrics: How the best model so far does; empty before there is one.
        mistakes: Those of the best model; with pictures once the run is over.
        written: When something was written into it last, in seconds since 1970.
    """

    path: Path
    config: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    mistakes: tuple[RecordedMistake, ...] = ()
    written: float | None = None

    @property
    def status(self) -> str:
        """`running`, `finished`, `interrupted` or `failed`."""
        return str(self.config.get("status", "unknown"))

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return str(_mapping(self.config.get("arguments")).get("recipe", "?"))

    @property
    def name(self) -> str:
        """The folder's."""
        return self.path.name or str(self.path)

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights are in `model/`, from 1."""
        found = self.metrics.get("epoch")
        return found if isinstance(found, int) else None

    @property
    def epochs(self) -> int | None:
        """How many epochs there will be at most, as far as that is known."""
        for known in (
            self.history[-1].get("epochs") if self.history else None,
            _mapping(self.config.get("settings")).get("epochs"),
            _mapping(self.config.get("arguments")).get("epochs"),
        ):
            if isinstance(known, int) and known > 0:
                return known
        return None


def is_run(path: Path) -> bool:
    """Whether it is a folder that `finetune(out=…)` made."""
    try:
        return path.is_dir() and RUN_MARK in _object(path / "config.json")
    except DataError:
        return False


def read_run(path: Path) -> RecordedRun:
    """The run in a folder; files that are absent as yet are empty.

    Raises:
        DataError: It is no run folder, or a file in it can't be read.
    """
    config = _object(path / "config.json")
    if RUN_MARK not in config:
        raise DataError("no run of torchgraft", where=str(path), hint="name a folder that finetune made")
    metrics = _object(path / "metrics.json")
    return RecordedRun(
        path=path,
        config=config,
        history=tuple(_records(path / "history.jsonl")),
        steps=tuple(_records(path / "steps.jsonl")),
        metrics=metrics,
        mistakes=tuple(_mistakes(metrics, path / "mistakes")),
        written=max((status.st_mtime for _, status in _files(path)), default=None),
    )


def revision(path: Path) -> str:
    """Another text whenever a file of the run has changed."""
    return " ".join(f"{name}:{status.st_mtime_ns}:{status.st_size}" for name, status in _files(path))


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    for name in _FILES:
        with suppress(OSError):
            yield name, (path / name).stat()


def _text(path: Path) -> str | None:
    """The whole file; `None` where there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror or error}", where=str(path)) from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"larger than {_MOST_BYTES >> 20} MiB, which no run writes", where=str(path))
    return data.decode("utf-8", "replace")


def _parsed(text: str, path: Path) -> object:
    try:
        return json.loads(text, parse_constant=float, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=str(path)) from error


def _whole(digits: str) -> int | float:
    """No number that a run writes is longer; a longer one is none, so that sums and quotients can be made."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.nan


def _object(path: Path) -> Mapping[str, Any]:
    text = _text(path)
    return {} if text is None else _mapping(_parsed(text, path))


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    """One object a line; a last line that is being written is left for the next time."""
    for line in (_text(path) or "").splitlines():
        try:
            entry = _parsed(line, path)
        except DataError:
            continue
        if isinstance(entry, dict):
            yield entry


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _mistakes(metrics: Mapping[str, Any], folder: Path) -> Iterator[RecordedMistake]:
    """The mistakes of `metrics.json`, with the pictures that were made of the same model's."""
    shown = _object(folder / "mistakes.json")
    pictures = _mapping(shown.get("pictures")) if shown.get("epoch") == metrics.get("epoch") else {}
    listed = metrics.get("mistakes")
    for entry in listed[:_MOST_MISTAKES] if isinstance(listed, list) else ():
        mistake = _mapping(entry)
        files = _mapping(pictures.get(str(mistake.get("index"))))
        sure = mistake.get("probability")
        yield RecordedMistake(
            name=str(mistake.get("name", "")),
            truth=str(mistake.get("truth", "")),
            guess=str(mistake.get("guess", "")),
            probability=float(sure) if isinstance(sure, int | float) and math.isfinite(sure) else None,
            picture=_picture(folder, files.get("picture")),
            saliency=_picture(folder, files.get("saliency")),
        )


def _picture(folder: Path, name: object) -> bytes:
    """A small JPEG beside `mistakes.json`, never one from elsewhere."""
    if not isinstance(name, str) or not _PICTURE.fullmatch(name) or (folder / name).is_symlink():
        return b""
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_MOST_PICTURE_BYTES + 1)
    except OSError:
        return b""
    return data if data.startswith(_JPEG) and len(data) <= _MOST_PICTURE_BYTES else b""
