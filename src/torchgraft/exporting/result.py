"""What an export wrote, and how it was checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Exported"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, after it was checked.

    Attributes:
        path: The file or folder.
        format: In whose form.
        checked: What was compared before it was put in place, and how well it agreed; one line.
        difference: The largest difference of the outputs, in proportion to the largest of the model's; `None`
            where outputs were not compared.
        notes: What else a reader should know, one line each.
    """

    path: Path
    format: str
    checked: str
    difference: float | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "path": str(self.path),
            "format": self.format,
            "checked": self.checked,
            "difference": self.difference,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.path}: {self.format}", f"  {self.checked}", *(f"  note: {note}" for note in self.notes)]
        )
