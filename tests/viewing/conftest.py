from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from torchgraft.viewing import Viewer


@pytest.fixture
def serve() -> Iterator[Callable[..., Viewer]]:
    """Starts viewers on ports of their own; they are stopped when the test ends."""
    running: list[tuple[Viewer, threading.Thread]] = []

    def serving(what: Any, **options: Any) -> Viewer:
        viewer = Viewer(what, **options)
        thread = threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        running.append((viewer, thread))
        return viewer

    yield serving
    for viewer, thread in running:
        viewer.shutdown()
        viewer.server_close()
        thread.join(10)
        assert not thread.is_alive()
