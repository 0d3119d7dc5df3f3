"""What the command line does before there is an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torchgraft.finetuning.processes.launched import process_count

__all__ = ["main_first"]


@contextmanager
def main_first() -> Iterator[None]:
    """The first process does it, then the others, who find what it has downloaded; alone: it is done."""
    if process_count() == 1:
        yield
        return
    from torchgraft.finetuning.engine import started
    from torchgraft.finetuning.processes import agreement

    started()
    with agreement.main_first():
        yield
