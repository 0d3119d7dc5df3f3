"""Says to remote files beforehand what will be read of them, so that it comes in few requests and at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torchgraft.tensors import Far, Span

__all__ = ["prefetched"]


@contextmanager
def prefetched(spans: Iterable[Span]) -> Iterator[None]:
    """Within the block these bytes are at hand, and reading them costs no request.

    Raises:
        FetchError: They can't be had.
    """
    wanted: dict[Far, list[tuple[int, int]]] = {}
    for span in spans:
        wanted.setdefault(span.file, []).append((span.offset, span.length))
    with ExitStack() as files:
        for file, ranges in wanted.items():
            files.enter_context(file.prefetch(ranges))
        yield
