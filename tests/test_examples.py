"""Each example runs by itself, without a network, and comes to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

LAST_LINES = {
    "1_load_straight.py": "Both files gave the same model, and no code from either was run.",
    "2_load_partly.py": "The decoder is new because it was declared so. Nothing else is.",
    "3_by_name.py": "One file, two libraries, the same classifier: 18 of 20 right.",
    "4_change_a_little.py": "4 channels, 21 classes, 18 of them already known.",
    "5_fine_tune.py": "The saved model gives what the trained one gave, bit for bit.",
}


def test_every_example_is_tested():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(LAST_LINES)


@pytest.mark.parametrize("name", LAST_LINES)
def test_example(name, tmp_path):
    offline = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1] == LAST_LINES[name]
    assert list(tmp_path.iterdir()) == []
