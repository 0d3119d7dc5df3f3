"""Compressed entries of an archive, inflated once for all the reads that need them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from torchgraft.formats.archives.zip_directory import Entry

__all__ = ["Inflated"]

_KEPT = 1 << 26


class Inflated:
    """The entries that were inflated last, up to 64 MiB together; the last one is kept whatever its size.

    Several slices of one tensor, and tensors that share a storage, mostly come one after another.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._views: OrderedDict[str, memoryview] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def view(self, entry: Entry) -> memoryview:
        """The entry's bytes. Raises `CorruptCheckpointError` when they are not what the archive says."""
        with self._lock:
            view = self._views.get(entry.name)
            if view is not None:
                self._views.move_to_end(entry.name)
                return view
            # Room first: the entries that go and the one that comes are not held together.
            while self._views and self._size + entry.size > self._kept:
                _, old = self._views.popitem(last=False)
                self._size -= len(old)
                del old
            view = entry.view()
            self._views[entry.name] = view
            self._size += len(view)
            return view
