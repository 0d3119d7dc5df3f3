"""Folders that an export writes: files of its own names, replaced as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchgraft.errors import SaveError
from torchgraft.saving.targets import make_folder
from torchgraft.storage.atomic_folder import atomic_folder

__all__ = ["CARD_FILE", "exported_folder", "write_json"]

CARD_FILE = "README.md"

_MINE = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json"
    r"|preprocessor_config\.json|README\.md"
)


@contextmanager
def exported_folder(path: Path) -> Iterator[Path]:
    """A folder that takes the place of `path` when the block ends without an error.

    Raises:
        SaveError: It holds files that no export wrote, or can't be written.
    """
    if path.suffix in (".safetensors", ".pth", ".pt", ".pt2", ".onnx"):
        raise SaveError(
            "this format is a folder, and the name is that of a file", where=str(path), hint="-o out/"
        )
    make_folder(path.resolve().parent)
    with atomic_folder(path, mine=lambda name: _MINE.fullmatch(name) is not None) as temporary:
        yield temporary


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a file inside a folder that is not in place yet."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
