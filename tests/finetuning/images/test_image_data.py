"""Every kind of source, from what the user gives to a trained model."""

import csv

import numpy as np
import pytest
from PIL import Image

import torchgraft as tg


@pytest.fixture
def source(memory, tmp_path):
    """Builds the same 64 photos as data of some kind."""
    arrays, labels = memory

    def build(kind):
        if kind == "memory":
            return arrays, labels
        if kind == "pairs":
            return list(zip(arrays, labels, strict=True))
        if kind == "stream":
            return iter(list(zip(arrays, labels, strict=True)))
        if kind == "datasets":
            datasets = pytest.importorskip("datasets", reason="pip install datasets")
            features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["bright", "dark"])}
            data = {"image": [Image.fromarray(array) for array in arrays], "label": labels}
            return datasets.Dataset.from_dict(data, features=datasets.Features(features))
        for index, array in enumerate(arrays):
            if kind == "table of arrays":
                np.save(tmp_path / f"{index}.npy", array)
            else:
                Image.fromarray(array).save(tmp_path / f"{index}.png")
        suffix = "npy" if kind == "table of arrays" else "png"
        with (tmp_path / "labels.csv").open("w", newline="") as file:
            rows = [(f"{index}.{suffix}", label, index // 4) for index, label in enumerate(labels)]
            csv.writer(file).writerows([("file", "label", "group"), *rows])
        if kind == "description":
            (tmp_path / "data.json").write_text('{"source": "labels.csv", "duplicates": "ignore"}')
            return str(tmp_path / "data.json")
        return str(tmp_path / "labels.csv")

    return build


@pytest.mark.parametrize(
    "kind", ["memory", "pairs", "stream", "datasets", "table", "table of arrays", "description"]
)
def test_the_model_learns_from_it(tiny, source, kind):
    result = tg.finetune(tiny(), source(kind), epochs=3)
    assert result.classes == ("bright", "dark")
    assert sum(result.counts.values()) == 64
    assert result.evaluation.accuracy > 0.9


def test_notes_of_the_data_reach_the_result(tiny, memory):
    arrays, labels = memory
    more = [arrays[1]] * 50
    result = tg.finetune(tiny(), (arrays + more, labels + ["dark"] * 50), epochs=1)
    assert any("also in the training images" in note for note in result.notes)
    few = [array for array, label in zip(arrays, labels, strict=True) if label == "bright"][:6]
    dark = [array for array, label in zip(arrays, labels, strict=True) if label == "dark"]
    result = tg.finetune(tiny(), (few + dark, ["bright"] * 6 + ["dark"] * len(dark)), epochs=1)
    assert any("the largest class has 7 times the images" in note for note in result.notes)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_run_is_the_same_from_files_and_memory(tiny, source, workers):
    """Kept pictures, workers and decoders make no difference to the losses."""
    losses = []
    for kind in ("table", "datasets"):
        data = source(kind)
        held_out = data if kind == "datasets" else tg.ImageData(data, duplicates="ignore")
        result = tg.finetune(
            tiny(), held_out, recipe="full", epochs=2, workers=workers, val=source("memory"), augment=False
        )
        losses.append([epoch.train_loss for epoch in result.history])
    assert losses[0] == losses[1]
