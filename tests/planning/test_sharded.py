"""Grafts into models that are spread over processes: each reads and holds its own parts, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planning.sharded_cases import CASES, LARGE

TESTS = Path(__file__).parents[1]
MANY = ("both", "copies of parts")
"""Cases of four processes."""

OTHERS = ["alone", "twins", "failing", "refusals"]


def world(folder: Path, size: int) -> list[dict[str, object]]:
    """What each of so many processes found."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "planning.sharded_world", str(folder), str(rank), str(size)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        said = [process.communicate(timeout=280)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * size, "\n".join(said)[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return world(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return world(tmp_path_factory.mktemp("four"), 4)


def names(*, few: bool) -> list[str]:
    cases = [case for case in CASES if not (few and case.name in MANY)]
    return [*(f"{case.name}: {kind}" for case in cases for kind in case.kinds), *OTHERS]


@pytest.mark.parametrize("name", names(few=True))
def test_two_processes(name, two):
    for found in two:
        assert found[name] == "passed", found[name]


@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name)
def test_two_processes_read_their_parts(case, two):
    for found in two:
        check_bytes(case.name, found[f"{case.name}: bytes"])


@pytest.mark.slow
@pytest.mark.parametrize("name", names(few=False))
def test_four_processes(name, four):
    for found in four:
        assert found[name] == "passed", found[name]


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name)
def test_four_processes_read_their_parts(case, four):
    for found in four:
        check_bytes(case.name, found[f"{case.name}: bytes"])


def check_bytes(name, found):
    """Those of its parts, all of each adapted tensor, and what lies between near ones.

    A part of columns lies in all rows of a remote file.
    """
    assert isinstance(found, dict), found
    limit = 1.1 * found["held"] + found["adapted"] + (64 << 10)
    assert found["read"] <= limit
    assert 0.5 * found["held"] < found["asked for"] <= limit * (1.5 if name == "parallel" else 1)
