"""What can be asked, one image after the other, and how answers are written."""

from __future__ import annotations

import csv
import json
import logging
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from torchgraft.errors import DataError, FetchError, SaveError
from torchgraft.finetuning import (
    LabelsPrediction,
    MaskPrediction,
    NumbersPrediction,
    predict,
    predict_iter,
    write_predictions,
)
from torchgraft.finetuning.predictions.asked import asked_images
from torchgraft.finetuning.predictions.writing import mask_palette, write_masks


@pytest.fixture
def web(make_folder) -> Iterator[tuple[str, Path]]:
    """A server of three photos on this machine; its address and their folder."""
    folder = make_folder({"a": 2, "b": 1})

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, directory=str(folder), **more)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("workers", [0, 3])
def test_addresses(tiny, web, workers):
    address, folder = web
    found = predict(tiny(), [f"{address}/a/00.png?key=secret", folder / "a" / "00.png"], workers=workers)
    assert found[0].name == f"{address}/a/00.png?…"
    assert found[0].probabilities == found[1].probabilities
    with pytest.raises(FetchError, match="404"):
        predict(tiny(), f"{address}/a/99.png", workers=workers)


def test_what_is_skipped_is_named(tiny, web, tmp_path, caplog):
    address, folder = web
    (tmp_path / "no.png").write_text("no image")
    asked = [f"{address}/none.png", folder / "b", tmp_path / "no.png"]
    with caplog.at_level(logging.WARNING):
        found = predict(tiny(), asked, unreadable="skip")
    assert [Path(one.name).name for one in found] == ["00.png"]
    assert ["none.png" in line for line in caplog.messages] == [True, False]
    assert "no.png" in caplog.messages[1]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*/00.png", ["a/00.png", "b/00.png"]),
        ("**/*.png", ["a/00.png", "a/01.png", "b/00.png"]),
        ("a/0[1-9].png", ["a/01.png"]),
    ],
)
def test_patterns(make_folder, pattern, names):
    folder = make_folder({"a": 2, "b": 1})
    assert [one.name for one in asked_images(f"{folder}/{pattern}")] == [f"{folder}/{name}" for name in names]


def test_a_file_whose_name_looks_like_a_pattern(make_folder):
    folder = make_folder({"a": 1})
    odd = folder / "a" / "[x].png"
    (folder / "a" / "00.png").rename(odd)
    assert [one.name for one in asked_images(str(odd))] == [str(odd)]
    with pytest.raises(DataError, match="no file fits this pattern"):
        list(asked_images(f"{folder}/*.jpg"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_is_not_run_ahead(tiny, memory, workers):
    """Of a thousand photos, few are drawn before the first answer is there."""
    drawn = []

    def stream():
        for index in range(1000):
            drawn.append(index)
            yield memory[0][index % 64]

    answers = predict_iter(tiny(), stream(), batch_size=4, workers=workers)
    assert len(drawn) <= 1
    next(answers)
    assert len(drawn) <= (5 if workers == 0 else 13)
    answers.close()
    assert len(drawn) < 20


@pytest.mark.parametrize("workers", [0, 3])
def test_threads_change_nothing(tiny, memory, workers):
    expected = predict(tiny(), memory[0], batch_size=7)
    found = list(predict_iter(tiny(), iter(memory[0]), batch_size=7, workers=workers))
    assert [one.name for one in found] == [one.name for one in expected]
    assert [one.probabilities for one in found] == [one.probabilities for one in expected]


def test_between_two_answers_the_callers_modes_are_their_own(tiny, memory):
    model = tiny().train()
    for _ in predict_iter(model, memory[0][:4], batch_size=2):
        assert model.training
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "arguments",
    [{"top": True}, {"threshold": 1.5}, {"batch_size": 0}, {"workers": -1}, {"unreadable": "maybe"}],
)
def test_arguments_that_make_no_sense(tiny, memory, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        predict_iter(tiny(), memory[0], **arguments)


def answers(tiny, memory, task: str) -> list:
    model = tiny(classes=3, labels=("red", "green, blue", "=x"))
    if task != "segmentation":
        return predict(model, memory[0][:5], task=task, threshold=0.4)
    maps = nn.Conv2d(3, 3, 1)
    from torchgraft.model_info import attach_info, info_of

    attach_info(maps, info_of(model))
    return predict(maps, memory[0][:5])


@pytest.mark.parametrize("task", ["classes", "multi-label", "regression", "segmentation"])
def test_writing(tiny, memory, tmp_path, task):
    found = answers(tiny, memory, task)
    kind = {"multi-label": LabelsPrediction, "regression": NumbersPrediction, "segmentation": MaskPrediction}
    assert all(isinstance(one, kind.get(task, object)) for one in found)
    for suffix in ("csv", "json", "jsonl"):
        assert write_predictions(iter(found), tmp_path / "sub" / f"out.{suffix}") == 5
    assert json.loads((tmp_path / "sub" / "out.json").read_text()) == {
        "predictions": [one.to_json() for one in found]
    }
    lines = (tmp_path / "sub" / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [one.to_json() for one in found]
    with (tmp_path / "sub" / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [one.name for one in found]
    for row, one in zip(rows, found, strict=True):
        assert row == {name: str(value) for name, value in one.row().items()}
    expected = {
        "classes": ["image", "label", "probability", "label_2", "probability_2", "label_3", "probability_3"],
        "multi-label": ["image", "labels", "red", "green, blue", "=x"],
        "regression": ["image", "red", "green, blue", "=x"],
        "segmentation": ["image", "mask", "red", "green, blue", "=x"],
    }
    assert list(rows[0]) == expected[task]


def test_nothing_is_left_of_what_could_not_be_written_whole(tmp_path):
    def broken():
        yield NumbersPrediction("a", {"x": 1.0})
        raise DataError("an image is broken")

    with pytest.raises(DataError):
        write_predictions(broken(), tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SaveError, match="txt"):
        write_predictions([], tmp_path / "out.txt")


def test_no_predictions_are_a_file_too(tmp_path):
    for suffix in ("csv", "json", "jsonl"):
        assert write_predictions([], tmp_path / f"out.{suffix}") == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"predictions": []}


class TestMasks:
    def mask(self, name: str, dtype: type = np.uint8) -> MaskPrediction:
        pixels = np.arange(12).reshape(3, 4).astype(dtype)
        return MaskPrediction(name, pixels, tuple(map(str, range(12))), dict.fromkeys("ab", 0.5))

    def test_files_with_a_palette(self, tmp_path):
        names = ["photos/a.jpg", "other/a.jpg", "image 0", "http://x.org/p/a.b.png?…", "../../e:v*l"]
        found = list(write_masks(iter(map(self.mask, names)), tmp_path / "masks"))
        written = ["a.png", "a-2.png", "image 0.png", "a.b.png", "e_v_l.png"]
        assert [Path(one.path).name for one in found] == written
        assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == sorted(written)
        with Image.open(tmp_path / "masks" / "a.png") as image:
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), found[0].mask)
            assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]

    def test_more_classes_than_a_palette_has(self, tmp_path):
        (one,) = write_masks([self.mask("a", np.uint16)], tmp_path)
        with Image.open(one.path) as image:
            assert np.array_equal(np.asarray(image), one.mask)

    def test_only_of_masks(self, tmp_path):
        with pytest.raises(SaveError, match="no masks"):
            list(write_masks([NumbersPrediction("a", {"x": 1.0})], tmp_path))

    def test_the_palette_is_pascals(self):
        colours = np.frombuffer(mask_palette(), np.uint8).reshape(256, 3)
        # aeroplane, bicycle, …, as in the challenge's own colour map
        assert colours[[1, 2, 3, 15, 20, 255]].tolist() == [
            [128, 0, 0],
            [0, 128, 0],
            [128, 128, 0],
            [192, 128, 128],
            [0, 64, 128],
            [224, 224, 192],
        ]
        assert len({tuple(colour) for colour in colours.tolist()}) == 256
