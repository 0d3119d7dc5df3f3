"""Class names from a file."""

from __future__ import annotations

import json
from pathlib import Path

from torchgraft.errors import DataError

__all__ = ["read_labels"]


def read_labels(path: Path | None) -> tuple[str, ...] | None:
    """One name a line, or a JSON list, or a JSON object with the classes' numbers as keys.

    `None` for no path.

    Raises:
        DataError: The file can't be read, or holds no names.
    """
    if path is None:
        return None
    hint = 'write one class name a line, or a JSON list: ["cat", "dog"]'
    try:
        text = path.read_text("utf-8-sig")
        labels = _from_json(json.loads(text)) if path.suffix.lower() == ".json" else _from_lines(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"class names can't be read: {error}", where=str(path), hint=hint) from error
    if not labels:
        raise DataError("holds no class names", where=str(path), hint=hint)
    return labels


def _from_lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _from_json(data: object) -> tuple[str, ...]:
    if isinstance(data, dict):
        numbers = {int(number): name for number, name in data.items()}
        if sorted(numbers) != list(range(len(numbers))):
            raise ValueError("its numbers are not 0, 1, 2, …")
        data = [numbers[i] for i in range(len(numbers))]
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise ValueError("it is not a list of names")
    return tuple(data)
