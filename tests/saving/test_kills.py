"""Killed at any moment, saving leaves the old version or the new one, whole: none lost, none mixed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HARNESS = Path(__file__).parent / "kill_while_saving.py"


@pytest.mark.parametrize(
    "kills", [44, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_while_saving(kills: int, tmp_path: Path) -> None:
    counts = outcome(tmp_path, kills)
    assert counts["problems"] == []
    assert counts.get("old", 0) + counts.get("new", 0) == counts["kills"] == kills
    assert counts["left behind"] == 0
    assert counts["killed while writing"] > kills // 10  # or nothing was tried


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_losses_are_found(tmp_path: Path) -> None:
    """Of those who write in place some are lost: what finds none of ours looks closely enough."""
    counts = outcome(tmp_path, 18, "peer.safetensors", "peer.pth", "peer shards")
    assert counts.get("lost", 0) + counts.get("mixed", 0) > 0


def outcome(folder: Path, kills: int, *kinds: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, HARNESS, folder, str(kills), "0", *kinds],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts
