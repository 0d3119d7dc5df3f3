from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from torchgraft.finetuning.evaluations.class_evaluation import measure_classes
from torchgraft.finetuning.evaluations.segmentation_evaluation import SegmentationEvaluation
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.runs.mistake_pictures import write_mistakes
from torchgraft.finetuning.runs.recorded_run import read_run
from torchgraft.model_info import Preprocessing

HOW = Preprocessing(size=(32, 32), crop=1.0)
COUNT = 20


@pytest.fixture
def wrong(tmp_path):
    """Images of which all are taken for the other class, the last one with the most confidence."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(COUNT):
        paths.append(tmp_path / f"{i}.png")
        coarse = Image.fromarray(rng.integers(0, 255, (3, 3, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(paths[-1])
    images = Images(paths, labels=(0,) * COUNT, classes=("a", "b"), names=tuple(p.name for p in paths))
    sure = np.linspace(0.6, 0.99, COUNT)
    scores = measure_classes(np.stack([1 - sure, sure], 1), np.zeros(COUNT, int), ("a", "b"), images=images)
    return images, scores


def a_model(channels=3):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def written(folder):
    return json.loads((folder / "mistakes" / "mistakes.json").read_text())


def test_the_worst_are_drawn_as_the_model_saw_them(tmp_path, wrong):
    run = tmp_path / "run"
    run.mkdir()
    write_mistakes(run, a_model(), *wrong, HOW, epoch=3)
    found = written(run)
    assert found["epoch"] == 3
    assert list(found["pictures"]) == [str(i) for i in range(COUNT - 1, COUNT - 13, -1)]
    for index, files in found["pictures"].items():
        assert files == {"picture": f"{index}.jpg", "saliency": f"{index}-saliency.jpg"}
    with Image.open(run / "mistakes" / "19.jpg") as shown, Image.open(wrong[0].items[19]) as original:
        assert shown.size == (32, 32)
        expected = original.resize((38, 32), Image.Resampling.BICUBIC).crop((3, 0, 35, 32))
        assert np.abs(np.asarray(shown, float) - np.asarray(expected, float)).mean() < 6  # as JPEG
    with (
        Image.open(run / "mistakes" / "19-saliency.jpg") as lit,
        Image.open(run / "mistakes" / "19.jpg") as shown,
    ):
        assert np.asarray(lit, float).mean() < np.asarray(shown, float).mean()


def test_the_run_page_finds_them(tmp_path, wrong):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"torchgraft_run": 2}')
    (run / "metrics.json").write_text(json.dumps({"epoch": 3, **wrong[1].to_json()}))
    write_mistakes(run, a_model(), *wrong, HOW, epoch=3)
    mistakes = read_run(run).mistakes
    assert [mistake.name for mistake in mistakes[:2]] == ["19.png", "18.png"]
    assert all(mistake.picture and mistake.saliency for mistake in mistakes[:12])
    assert not any(mistake.picture for mistake in mistakes[12:])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, None)])
def test_other_channels(tmp_path, wrong, channels, mode):
    run = tmp_path / "run"
    run.mkdir()
    images, scores = wrong
    if mode is None:
        arrays = np.random.default_rng(0).integers(0, 255, (COUNT, 40, 40, 4), dtype=np.uint8)
        images = replace(images, items=list(arrays))
    write_mistakes(run, a_model(channels), images, scores, HOW.with_channels(channels), epoch=1)
    assert len(written(run)["pictures"]) == 12


def test_it_stops_when_the_time_is_over(tmp_path, wrong):
    run = tmp_path / "run"
    run.mkdir()
    seconds = itertools.count(0, 10)  # each look at the clock is ten seconds later
    write_mistakes(run, a_model(), *wrong, HOW, epoch=1, budget=45, clock=lambda: next(seconds))
    assert [list(files) for files in written(run)["pictures"].values()] == [["picture", "saliency"]] * 2


def test_an_image_that_is_gone_and_a_model_without_gradients(tmp_path, wrong):
    class Plain(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 2)

    run = tmp_path / "run"
    run.mkdir()
    images, scores = wrong
    images.items[19].unlink()
    write_mistakes(run, Plain(), images, scores, HOW, epoch=1)
    found = written(run)["pictures"]
    assert "19" not in found
    assert found["18"] == {"picture": "18.jpg"}


def test_masks_have_no_single_answer(tmp_path, wrong):
    run = tmp_path / "run"
    run.mkdir()
    images, scores = wrong
    regions = SegmentationEvaluation(
        count=20,
        mean_iou=0.5,
        pixel_accuracy=0.5,
        mean_accuracy=0.5,
        loss=1.0,
        per_class=(),
        mistakes=scores.mistakes,
    )
    write_mistakes(run, a_model(), images, regions, HOW, epoch=1)
    assert {tuple(files) for files in written(run)["pictures"].values()} == {("picture",)}
