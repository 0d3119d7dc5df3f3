"""Killed at any moment, a run that goes on ends as if it had never stopped: bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent / "kill_and_resume.py"


@pytest.mark.parametrize("kills", [6, pytest.param(120, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_resumed(kills: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, HARNESS, tmp_path, str(kills), "0"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout)
    assert counts["problems"] == []
    assert counts["kills"] == kills
