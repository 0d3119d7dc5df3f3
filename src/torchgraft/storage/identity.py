"""Which file it is that weights came from, as far as can be told without reading it."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["identity_of"]

_BLOB = re.compile(r"[0-9a-f]{64}")  # how Hugging Face's cache names a file's content
_BEGINNING = re.compile(r".+-([0-9a-f]{8,64})\.\w+")  # how PyTorch's hub marks a file


def identity_of(path: Path) -> dict[str, str]:
    """Length and time of change of a file, and what its name says of its SHA-256; nothing of a folder."""
    try:
        status = path.stat()
        if not path.is_file():
            return {}
        real = Path(os.path.realpath(path)).name
    except (OSError, ValueError):
        return {}
    changed = datetime.fromtimestamp(int(status.st_mtime), timezone.utc)
    known = {"bytes": str(status.st_size), "changed": changed.isoformat()}
    if _BLOB.fullmatch(real):
        return {**known, "sha256": real}
    found = _BEGINNING.fullmatch(path.name)
    return {**known, "sha256 begins": found[1]} if found else known
