"""Two processes that share each batch, beside one. All that is in here needs one start of two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetuning import one_of_several
from finetuning.one_of_several import QUICK, by_hand, finetuned

WORKER = Path(one_of_several.__file__)


def started(folder: Path, *cases: str, processes: int = 2, seconds: int = 240) -> None:
    """Run `cases` in so many processes, which meet at a file; none is left when this returns."""
    count = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    base = {**os.environ, **count, "OMP_NUM_THREADS": "1", "STORE": str(folder / "store")}
    ranks = [{**base, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    command = [sys.executable, "-W", "error", str(WORKER), str(folder), *cases]
    logs = [folder / f"log-{rank}.txt" for rank in range(processes)]
    running = []
    try:
        for env, log in zip(ranks, logs, strict=True):
            with log.open("w") as file:
                running.append(subprocess.Popen(command, env=env, stdout=file, stderr=file))
        for process in running:
            process.wait(timeout=seconds)
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert "".join(log.read_text() for log in logs) == ""
    assert [process.returncode for process in running] == [0] * processes


def steps(run: Path) -> list[float]:
    """The loss of each step."""
    return [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()]


def history(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder in which two processes have run all cases."""
    folder = tmp_path_factory.mktemp("two")
    started(folder, "agreed", "normalised", "by_engine", *QUICK)
    return folder


@pytest.fixture(scope="module")
def said(two) -> list[dict]:
    return [json.loads((two / f"said-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", QUICK)
def test_losses_are_those_of_one_process(two, tmp_path, case):
    finetuned(tmp_path, case)
    mine, theirs = history(tmp_path / case), history(two / case)
    assert len(mine) == len(theirs)
    for key in ("train_loss", "val_loss", "val_accuracy"):
        assert [row[key] for row in theirs] == pytest.approx([row[key] for row in mine], abs=1e-5)
    if case != "linear-probe":
        assert len(steps(tmp_path / case)) >= 6
        assert steps(two / case) == pytest.approx(steps(tmp_path / case), abs=1e-5)


@pytest.mark.parametrize("case", QUICK)
def test_the_measured_images_are_each_counted_once(two, case):
    metrics = json.loads((two / case / "metrics.json").read_text())
    assert sum(map(sum, metrics["confusion"])) == 12


def test_a_loop_by_hand_whose_last_batch_is_smaller_than_the_processes_are_many(said):
    expected = by_hand()
    assert said[0]["by_engine"] == said[1]["by_engine"]
    assert said[0]["by_engine"] == pytest.approx(expected, abs=1e-5)


def test_batch_normalisation_is_of_the_whole_batch(said):
    for process in said:
        assert max(process["normalised"]) < 1e-12


def test_what_processes_settle(said):
    for rank, found in enumerate(process["agreed"] for process in said):
        assert found["sum"] == 3.0
        assert found["any"] == [False, True]
        assert found["rows"] == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        assert found["none"] == [0]
        assert found["first"] == 0
        assert found["calls"] == (1 if rank == 0 else 0)


def test_an_error_in_one_process_ends_all_with_its_words(said):
    first, second = (process["agreed"] for process in said)
    assert first["fails-0"] == ["own", "in 0"]
    assert second["fails-0"] == ["elsewhere", "in 0", "try again"]
    assert first["fails-1"] == ["elsewhere", "process 1: in 1", "try again"]
    assert second["fails-1"] == ["own", "in 1"]
    assert first["first-fails"] == ["own", "in the first"]
    assert second["first-fails"] == ["elsewhere", "in the first", "try again"]
