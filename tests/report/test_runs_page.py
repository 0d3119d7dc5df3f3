from __future__ import annotations

import json

import pytest

import run_folders
from torchgraft.finetuning.runs.recorded_run import read_run
from torchgraft.report.page import render_html, runs_page


@pytest.fixture
def runs(tmp_path):
    first = {"recipe": "full", "epochs": 4, "lr": 0.001, "seed": 0}
    folders = [
        run_folders.finished(tmp_path / name, epochs=4, seed=i, arguments={**first, "lr": lr, "seed": i})
        for i, (name, lr) in enumerate({"a": 0.001, "b": 0.0003, "c": 0.001}.items())
    ]
    return [read_run(folder) for folder in folders]


def section(page, title):
    return next(section for section in page.sections if section.title == title)


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_results_side_by_side_the_best_marked(runs):
    table = section(runs_page(runs), "What came of them")
    assert [column.label for column in table.columns][:3] == ["run", "best epoch", "accuracy"]
    assert [row[0].text for row in table.rows] == ["a", "b", "c"]
    assert table.rows[0][1].text == "3 of 4"
    place = [column.label for column in table.columns].index("accuracy")
    scores = [run.metrics["accuracy"] for run in runs]
    assert [row[place].best for row in table.rows] == [score == max(scores) for score in scores]
    place = [column.label for column in table.columns].index("log loss")
    assert not any(row[place].best for row in table.rows)  # the same in all


def test_the_least_error_is_the_best(runs):
    changed = []
    for run, error in zip(runs, (0.3, 0.1, 0.2), strict=True):
        metrics = {**run.metrics, "ece": error}
        (run.path / "metrics.json").write_text(json.dumps(metrics))
        changed.append(read_run(run.path))
    table = section(runs_page(changed), "What came of them")
    place = [column.label for column in table.columns].index("calibration error")
    assert [row[place].best for row in table.rows] == [False, True, False]


def test_equals_are_both_the_best(runs):
    changed = []
    for run, accuracy in zip(runs, (0.7, 0.9, 0.9), strict=True):
        (run.path / "metrics.json").write_text(json.dumps({**run.metrics, "accuracy": accuracy}))
        changed.append(read_run(run.path))
    page = runs_page(changed)
    table = section(page, "What came of them")
    place = [column.label for column in table.columns].index("accuracy")
    assert [row[place].best for row in table.rows] == [False, True, True]
    assert [(figure.value, figure.label) for figure in page.figures] == [
        ("90.0 %", "accuracy, the best of 3"),
        ("b", "and 1 other have it"),
    ]


def test_only_what_differs(runs):
    assert texts(section(runs_page(runs), "In what they differ")) == [
        ["lr", "0.001", "0.0003", "0.001"],
        ["seed", "0", "1", "2"],
    ]
    assert "In what they differ" not in [s.title for s in runs_page([runs[0], runs[0]]).sections]


def test_curves_lie_over_each_other(runs):
    charts = section(runs_page(runs), "How they learned").charts
    assert [chart.title for chart in charts] == [
        "Accuracy on the validation images",
        "Balanced accuracy on the validation images",
        "Loss",
        "Training loss by step, moving average",
    ]
    assert [curve.label for curve in charts[0].curves] == ["a", "b", "c"]
    assert charts[0].curves[1].values == tuple(entry["val_accuracy"] for entry in runs[1].history)


def test_class_by_class(runs):
    table = section(runs_page(runs), "Class by class: F1")
    assert [row[0].text for row in table.rows] == ["cat", "dog", "owl"]
    assert table.rows[1][2].value == runs[1].metrics["per_class"][1]["f1"]


def test_runs_of_the_same_name(tmp_path):
    one = run_folders.finished(tmp_path / "x" / "run", epochs=1)
    two = run_folders.finished(tmp_path / "y" / "run", epochs=1)
    runs = [read_run(one), read_run(two)]
    table = section(runs_page(runs), "What came of them")
    assert [row[0].text for row in table.rows] == ["x/run", "y/run"]
    table = section(runs_page([runs[0], runs[0]]), "What came of them")
    assert len({row[0].text for row in table.rows}) == 2


def test_runs_that_have_only_begun_or_failed(tmp_path, runs):
    run_folders.config(tmp_path / "begun")
    run_folders.config(tmp_path / "failed", status="failed", error="TrainingError: nan")
    begun, failed = read_run(tmp_path / "begun"), read_run(tmp_path / "failed")
    html = render_html(runs_page([begun, failed, runs[0]], live=True), live=True)
    assert "1 of 3 runs finished" in html
    table = section(runs_page([begun, failed, runs[0]]), "What came of them")
    assert [row[1].text for row in table.rows] == ["running", "failed", "finished"]
    assert "failed: TrainingError: nan" in html
    assert 'data-status="running"' in html
    assert 'data-status="failed"' in render_html(runs_page([failed, runs[0]]))
    assert "2 runs" in render_html(runs_page([begun, begun]))
