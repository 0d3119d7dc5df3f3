"""Pages of runs, from folders alone; what they do in a browser is tested in tests/browser."""

from __future__ import annotations

import itertools
import json
import math
import os
from dataclasses import replace

import pytest

import run_folders
from torchgraft.finetuning import Epoch
from torchgraft.finetuning.runs.recorded_run import read_run
from torchgraft.report.page import render_html, run_charts, run_page
from torchgraft.report.page.run_charts import charts_of


def titles(run):
    return [section.title for section in run_page(run).sections]


def test_a_finished_run_says_everything(tmp_path):
    run = read_run(run_folders.finished(tmp_path / "run", notes=["a note"]))
    html = render_html(run_page(run))
    metrics = run.metrics
    for wanted in (
        "timm/resnet18 on photos",
        "recipe full, 3 classes, 400 images to learn from",
        f"{100 * metrics['accuracy']:.1f} %",
        f"accuracy on the {metrics['count']} validation images",
        "the best is number 9",
        "2 min 10 s",
        "Begun 2026-03-01 10:00 UTC.",
        f"torchgraft predict {tmp_path / 'run'} IMAGES",
        "Expected calibration error: 8.0 %",
        "the model says",
        "cat/000.jpg",
        "11,176,512",
        "broken.jpg",
        "head fc: 1,000 → 3 classes",
        "a note",
        "source resnet18.pth, format torch zip",
        "torch 2.14.1",
    ):
        assert wanted in html
    assert titles(run) == [
        "How it stands",
        "How it was learned",
        "What is taken for what",
        "Class by class",
        "Where it is most wrong",
        "How far its confidence can be trusted",
        "What learned how fast",
        "Provenance",
    ]


@pytest.mark.parametrize(
    ("model", "data", "title"),
    [
        ({"builder": "timm/resnet18"}, "/home/me/photos/", "timm/resnet18 on photos"),
        ({"builder": None, "class": "mine.Net"}, "photos", "mine.Net on photos"),
        ("a name", "C", "a name on C"),
        (None, "photos", "run"),
        ({"builder": 3}, "photos", "run"),
        ("a name", None, "run"),
    ],
)
def test_what_it_is_called(tmp_path, model, data, title):
    run_folders.config(tmp_path / "run", model=model, data=data)
    assert run_page(read_run(tmp_path / "run")).title == title


def wiggle(values):
    return sum(abs(b - a) for a, b in itertools.pairwise(values))


@pytest.mark.parametrize(
    ("status", "wanted", "command"),
    [
        ("running", "No epoch has ended yet.", "torchgraft view"),
        ("failed", "the loss became nan", "torchgraft finetune --resume"),
        ("interrupted", "KeyboardInterrupt", "torchgraft finetune --resume"),
        ("finished", "finished", "torchgraft predict"),
    ],
)
def test_each_state(tmp_path, status, wanted, command):
    run_folders.config(
        tmp_path / "a run", status=status, error="TrainingError: the loss became nan, KeyboardInterrupt"
    )
    html = render_html(run_page(read_run(tmp_path / "a run")))
    assert f'data-status="{status}"' in html
    assert wanted in html
    assert f"{command} &#39;{tmp_path / 'a run'}&#39;" in html


def test_how_long_it_takes_yet(tmp_path):
    run_folders.config(tmp_path / "run")
    for number in (1, 2, 3):
        run_folders.add_epoch(tmp_path / "run", number)
    html = render_html(run_page(read_run(tmp_path / "run")))
    assert "epoch 3 of 10" in html
    assert "Step 39 of 130." in html
    assert "About 1 min 28 s to go." in html  # 7 epochs of 12.5 s


def test_when_it_was_heard_of_last(tmp_path):
    run_folders.config(tmp_path / "run")
    os.utime(tmp_path / "run" / "config.json", (0, 1_772_360_000))
    html = render_html(run_page(read_run(tmp_path / "run")))
    assert "Last heard of 2026-03-01 10:13:20 UTC." in html
    assert "If it was killed" in html


def test_an_unheard_of_state(tmp_path):
    run_folders.config(tmp_path / "run", status="<b>")
    assert "state unknown" in render_html(run_page(read_run(tmp_path / "run")))


@pytest.mark.parametrize(
    ("task", "measure", "wanted"),
    [
        ("regression", "mae", ["2.4100", "Number by number", "44.1"]),
        ("segmentation", "mean_iou", ["61.0 %", "Class by class", "41.2% of pixels right"]),
        ("multi-label", "mean_average_precision", ["74.0 %", "Class by class", "car, person"]),
    ],
)
def test_other_tasks(tmp_path, task, measure, wanted):
    folder = tmp_path / "run"
    run_folders.config(folder, status="finished")
    for number in (1, 2):
        run_folders.add_epoch(folder, number, **{"loss": 0.4, measure: 0.5 + number / 10})
    run_folders.other_metrics(folder, task, epoch=2)
    run = read_run(folder)
    html = render_html(run_page(run))
    for text in wanted:
        assert text in html
    assert "What is taken for what" not in titles(run)


def test_charts_hold_what_was_recorded(tmp_path):
    run = read_run(run_folders.finished(tmp_path / "run", epochs=4))
    charts = {chart.title: chart for chart in charts_of(run)}
    assert list(charts) == ["Loss", "Measures on the validation images", "Loss by step", "Learning rates"]
    validation, training = charts["Loss"].curves
    assert validation.values == tuple(entry["val_loss"] for entry in run.history)
    assert training.values == tuple(entry["train_loss"] for entry in run.history)
    assert charts["Loss"].mark == (3.0, "the best epoch: 3")
    raw, smooth = charts["Loss by step"].curves
    assert (raw.raw, smooth.raw) == (True, False)
    assert raw.values == tuple(step["loss"] for step in run.steps)
    assert raw.at == tuple(float(step["step"]) for step in run.steps)
    assert len(smooth.values) == len(raw.values)
    assert wiggle(smooth.values) < wiggle(raw.values) / 2
    rates = charts["Learning rates"]
    assert [curve.label for curve in rates.curves] == ["backbone", "head"]
    assert not rates.log
    assert rates.along == "step"


def test_steps_that_were_done_again_count_once(tmp_path):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    with (folder / "steps.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, "loss": 77.0, "lr": {"head": 1.0}}) + "\n")
    raw = next(chart for chart in charts_of(read_run(folder)) if chart.title == "Loss by step").curves[0]
    assert len(raw.values) == 13
    assert raw.values[4] == 77.0


def test_many_groups_share_one_scale_of_shades(tmp_path):
    run_folders.config(tmp_path / "run")
    rates = {f"blocks.{i}": 1e-3 * 0.6 ** (12 - i) for i in range(13)}
    run_folders.add_epoch(tmp_path / "run", 1, lr=rates)
    run = replace(read_run(tmp_path / "run"), steps=())
    chart = next(chart for chart in charts_of(run) if chart.title == "Learning rates")
    assert chart.ranked
    assert chart.log
    assert chart.along == "epoch"
    assert [curve.values for curve in chart.curves] == [(rate,) for rate in rates.values()]
    html = render_html(run_page(run))
    assert "blocks.12</text>" in html
    assert "blocks.0</text>" in html
    assert "blocks.6</text>" not in html


def test_a_page_of_many_classes_and_steps_stays_small(tmp_path):
    classes = [f"class {i}" for i in range(1000)]
    folder = run_folders.finished(tmp_path / "run", classes=classes, epochs=2)
    with (folder / "steps.jsonl").open("w") as file:
        for i in range(1, 10_001):
            file.write(json.dumps({"step": i, "loss": 1 / i, "lr": {"head": 1e-3, "backbone": 1e-4}}) + "\n")
    assert len(render_html(run_page(read_run(folder)))) < 1_000_000


def test_matrices_that_are_none(tmp_path):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    for confusion in (
        [[1]],
        [[1, 2], [3]],
        [[1, 2], [3, "x"]],
        [[1, -2], [3, 4]],
        "x",
        [[1, 2], [3, 4], [5, 6]],
    ):
        metrics = {
            **json.loads((folder / "metrics.json").read_text()),
            "confusion": confusion,
            "classes": ["a", "b"],
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
        assert "What is taken for what" not in titles(read_run(folder))


@pytest.mark.parametrize(
    "junk", [None, 3, "x", [], {}, [1], [{}], {"bins": 3}, {"bins": [{"low": "x"}]}, 1e308, [[[]]]]
)
@pytest.mark.parametrize(
    "key",
    ["per_class", "calibration", "mistakes", "classes", "epoch", "count", "accuracy", "confusion", "task"],
)
def test_junk_in_the_metrics(tmp_path, key, junk):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    metrics = {**json.loads((folder / "metrics.json").read_text()), key: junk}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert "Provenance" in render_html(run_page(read_run(folder)))


@pytest.mark.parametrize("junk", [None, 3, "x", [], {}, [1], [{}], {"a": [1, {"b": None}]}, -1, 1e308])
@pytest.mark.parametrize(
    "key",
    [
        *("status", "arguments", "settings", "counts", "classes", "groups", "versions", "notes", "seconds"),
        *("started", "model", "data", "error", "preprocessing", "skipped"),
    ],
)
def test_junk_in_the_config(tmp_path, key, junk):
    run_folders.config(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, key: junk}))
    assert "Provenance" in render_html(run_page(read_run(tmp_path / "run")))


@pytest.mark.parametrize("junk", [None, "x", [], {}, -1, 1e308, math.nan, True])
@pytest.mark.parametrize(
    "key", ["epoch", "train_loss", "val_loss", "val_accuracy", "lr", "seconds", "epochs", "step"]
)
def test_junk_in_the_history(tmp_path, key, junk):
    run_folders.config(tmp_path / "run")
    run_folders.add_epoch(tmp_path / "run", 1)
    for name in ("history.jsonl", "steps.jsonl"):
        with (tmp_path / "run" / name).open("a") as file:
            file.write(json.dumps({"epoch": 2, "step": 14, "loss": 1.0, "val_loss": 1.0, key: junk}) + "\n")
    assert "Provenance" in render_html(run_page(read_run(tmp_path / "run")))


def test_charts_of_several_runs_hold_the_histories():
    history = tuple(
        Epoch(i, 1 / i, {"loss": 1.1 / i, "accuracy": 0.5 + i / 10}, {"head": 0.1}, 1.0) for i in (1, 2, 3)
    )
    accuracy, loss = run_charts({"a": [history, history], "b": [history[:1]]})
    assert [curve.label for curve in accuracy.curves] == ["a", "a", "b"]
    assert accuracy.curves[0].values == (0.6, 0.7, 0.8)
    assert [curve.training for curve in loss.curves] == [False] * 3 + [True] * 3
    assert loss.curves[3].values == (1.0, 1 / 2, 1 / 3)
