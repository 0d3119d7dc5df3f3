"""Who watches the demo: it shows things, and never prints itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType

    from torchgraft.finetuning import Event

__all__ = ["Audience"]


class Audience(Protocol):
    """Takes what the demo has to show, while it runs."""

    def step(self, title: str) -> None:
        """A new step begins."""
        ...

    def show(self, what: RenderableType) -> None:
        """Something to read."""
        ...

    def progress(self, event: Event) -> None:
        """A sign of progress of a fine-tuning run."""
        ...
