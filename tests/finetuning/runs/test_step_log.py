import json

import pytest

from torchgraft.finetuning.events import Step
from torchgraft.finetuning.runs.step_log import StepLog


def written(log: StepLog) -> list[dict]:
    log.flush()
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def test_a_line_a_step(tmp_path):
    log = StepLog(tmp_path / "steps.jsonl")
    for number in range(1, 6):
        log.add(Step(number, 5, 1, number / 10, {"head": 0.1}), seconds=number)
    lines = written(log)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[2] == {
        "step": 3,
        "steps": 5,
        "epoch": 1,
        "phase": 1,
        "loss": 0.3,
        "lr": {"head": 0.1},
        "seconds": 3,
    }


def test_fewer_lines_in_a_long_run(tmp_path):
    log = StepLog(tmp_path / "steps.jsonl")
    for number in range(1, 30_001):
        log.add(Step(number, 30_000, 1, float(number), {}), seconds=0)
    lines = written(log)
    assert len(lines) == 10_000
    assert lines[0]["step"] == 3
    assert lines[0]["loss"] == 2.0  # the mean of 1, 2, 3
    assert lines[-1]["step"] == 30_000


def test_a_fast_loop_does_not_write_each_step(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("torchgraft.finetuning.runs.step_log.time.monotonic", lambda: now)
    log = StepLog(tmp_path / "steps.jsonl")
    sizes = set()
    for number in range(1, 100):
        now += 0.1
        log.add(Step(number, 99, 1, 1.0, {}), seconds=0)
        sizes.add(log.path.stat().st_size if log.path.exists() else 0)
    assert 5 <= len(sizes) <= 12


def test_many_groups_are_three(tmp_path):
    log = StepLog(tmp_path / "steps.jsonl")
    rates = {f"blocks.{i}": 0.1 * (i + 1) for i in range(20)} | {"norm": 0.5, "head": 0.01}
    log.add(Step(1, 1, 1, 1.0, rates), seconds=0)
    assert written(log)[0]["lr"] == pytest.approx({"blocks.0": 0.1, "blocks.19": 2.0, "head": 0.01})


def test_later_steps_are_cut_off_and_half_lines_too(tmp_path):
    log = StepLog(tmp_path / "steps.jsonl")
    log.cut(3)  # nothing there
    for number in range(1, 6):
        log.add(Step(number, 5, 1, 0.5, {}), seconds=0)
    log.flush()
    with log.path.open("a") as file:
        file.write('{"step": 2, "st')
    log.cut(3)
    assert [line["step"] for line in written(log)] == [1, 2, 3]
