"""`evaluate` and `predict` of models of every task, from data on disk."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import torchgraft as tg
from torchgraft.cli import commands

MODEL = "tiny_net:build"

MAPS = """
import torch
from torch import nn

def build(classes: int = 2) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1))
"""


@pytest.fixture
def table(place: Path, photos: Path) -> dict[str, Path]:
    """The photos in a table for each kind of label."""
    paths = sorted(photos.rglob("*.png"))
    found = {}
    for kind, label in {
        "classes": lambda path, _: path.parent.name,
        "multi-label": lambda path, i: "; ".join([path.parent.name, *(["even"] if i % 2 == 0 else [])]),
        "regression": lambda path, i: 1.5 * i,
    }.items():
        found[kind] = place / f"{kind}.csv"
        with found[kind].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label"])
            writer.writerows([path.relative_to(place), label(path, i)] for i, path in enumerate(paths))
    return found


def saved(place: Path, task: str, labels: list[str]) -> None:
    import tiny_net

    from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

    model = tiny_net.build(len(labels)).eval()
    how = Preprocessing((32, 32), 1.0, "bilinear")
    attach_info(model, ModelInfo(labels=tuple(labels), preprocessing=how, task=task))
    tg.save(model, place / "model")


@pytest.mark.parametrize(
    ("task", "labels", "shown"),
    [
        ("classes", ["dark", "light"], ["accuracy", "true ↓", "precision", "worst answers"]),
        ("multi-label", ["dark", "even", "light"], ["mean average precision", "exact match", "support"]),
        ("regression", ["label"], ["rmse", "bias", "worst answers"]),
    ],
)
def test_evaluate(table, place, call, task, labels, shown):
    saved(place, task, labels)
    asked = ("evaluate", "model", str(table[task].name), "--builder", f"{MODEL}")
    if len(labels) != 10:
        (place / "tiny_net.py").write_text(
            (place / "tiny_net.py").read_text().replace("= 10", f"= {len(labels)}")
        )
        import sys

        sys.modules.pop("tiny_net", None)
    result = call(*asked)
    assert result.exit_code == 0, result.output
    for words in shown:
        assert words in result.stdout
    data = json.loads(call(*asked, "--json", "--workers", "0").stdout)
    assert (data["task"], data["count"]) == (task, 24)
    assert "worst answers" not in call(*asked, "--mistakes", "0").stdout


def test_another_task_than_the_data_is_for(table, place, call):
    saved(place, "classes", [str(i) for i in range(10)])
    refused = call("evaluate", "model", "photos", "--builder", MODEL, "--task", "regression")
    assert refused.exit_code == 7
    assert "classes" in refused.stderr


@pytest.fixture
def classifier(place: Path, photos: Path) -> Path:
    saved(place, "classes", [f"c{i}" for i in range(10)])
    return place


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_predictions_in_a_file(classifier, call, suffix):
    asked = ("predict", "model", "photos/dark", "--builder", MODEL, "--workers", "2", "--top", "2")
    result = call(*asked, "-o", f"out/guesses.{suffix}")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"12 predictions: out/guesses.{suffix}\n"
    text = (classifier / "out" / f"guesses.{suffix}").read_text()
    assert text.count("photos/dark/") == 12
    told = json.loads(call(*asked, "-o", f"again.{suffix}", "--json").stdout)
    assert told == {"count": 12, "out": f"again.{suffix}", "masks": None}
    wrong = call(*asked, "-o", "guesses.txt")
    assert wrong.exit_code == 8
    assert ".csv, .json or .jsonl" in wrong.stderr


def test_a_list_on_stdin_and_a_pattern(classifier):
    lines = "photos/dark/00.png\n\nphotos/light/01.png\n"
    asked = ["predict", "model", "-", "photos/*/02.png", "--builder", MODEL, "--json"]
    result = CliRunner().invoke(commands, asked, input=lines)
    names = [one["name"] for one in json.loads(result.stdout)["predictions"]]
    assert names == [f"photos/{name}.png" for name in ("dark/00", "light/01", "dark/02", "light/02")]


def test_what_is_skipped_is_named(classifier, call):
    (classifier / "photos" / "dark" / "broken.png").write_bytes(b"no image")
    asked = ("predict", "model", "photos", "--builder", MODEL, "-o", "out.csv")
    assert call(*asked).exit_code == 7
    assert not (classifier / "out.csv").exists()
    skipped = call(*asked, "--skip-unreadable")
    assert skipped.stdout.startswith("24 predictions")
    assert "broken.png" in skipped.stderr


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_predictions_of_other_tasks_on_a_terminal(classifier, call, task):
    saved(classifier, task, [f"c{i}" for i in range(10)])
    result = call("predict", "model", "photos/dark/00.png", "--builder", MODEL, "--threshold", "0.0")
    assert result.exit_code == 0, result.output
    assert "c3" in result.stdout


def test_masks(place, call):
    import torch

    (place / "maps_net.py").write_text(MAPS)
    import sys

    sys.modules.pop("maps_net", None)
    import maps_net

    from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

    torch.manual_seed(0)
    model = maps_net.build()
    how = Preprocessing((32, 32), 1.0, "bilinear")
    attach_info(model, ModelInfo(labels=("ground", "block"), preprocessing=how, task="segmentation"))
    tg.save(model, place / "model")
    for kind in ("images", "masks"):
        (place / "data" / kind).mkdir(parents=True)
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 50, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(place / "data" / "images" / f"{index}.png")
        Image.fromarray((pixels[..., 0] > 128).astype(np.uint8)).save(
            place / "data" / "masks" / f"{index}.png"
        )
    builder = ("--builder", "maps_net:build")
    shown = call("evaluate", "model", "data", *builder)
    assert shown.exit_code == 0, shown.output
    assert "mean iou" in shown.stdout
    assert "block" in shown.stdout
    result = call("predict", "model", "data/images", *builder, "--masks", "out", "-o", "out/masks.csv")
    assert result.exit_code == 0, result.output
    with (place / "out" / "masks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mask"] for row in rows] == [f"out/{index}.png" for index in range(3)]
    with Image.open(place / "out" / "0.png") as image:
        assert (image.mode, image.size) == ("P", (50, 40))
        share = float((np.asarray(image) == 1).mean())
    assert float(rows[0]["block"]) == pytest.approx(share)
    assert "%" in call("predict", "model", "data/images", *builder).stdout
