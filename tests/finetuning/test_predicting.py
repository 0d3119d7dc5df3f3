import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from torchgraft.errors import DataError
from torchgraft.finetuning import predict
from torchgraft.finetuning.images.reading import read_picture
from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.model_info import info_of


def test_probabilities_are_the_models_own(tiny, memory):
    model = tiny(classes=4, labels=tuple("abcd"))
    photo = memory[0][0]
    (guess,) = predict(model, photo, top=3)
    with torch.no_grad():
        inputs = evaluation_input(read_picture(photo, 3, where=""), info_of(model).preprocessing)
        scores = model(inputs[None]).softmax(1)[0]
    order = scores.argsort(descending=True)[:3].tolist()
    assert guess.indices == tuple(order)
    assert guess.labels == tuple("abcd"[i] for i in order)
    assert guess.probabilities == pytest.approx(scores[order].tolist(), rel=1e-5)
    assert json.loads(json.dumps(guess.to_json()))["indices"] == order


def kinds(folder: Path, photos):
    array = photos[0]
    tensor = torch.from_numpy(array.transpose(2, 0, 1).copy())
    return {
        "path": (folder / "a" / "00.png", [str(folder / "a" / "00.png")]),
        "text path": (str(folder / "a" / "00.png"), [str(folder / "a" / "00.png")]),
        "folder": (folder, [str(folder / name) for name in ("a/00.png", "a/01.png", "b/00.png")]),
        "paths": (
            [folder / "b" / "00.png", folder / "a"],
            [str(folder / n) for n in ("b/00.png", "a/00.png", "a/01.png")],
        ),
        "pil": (Image.fromarray(array), ["image 0"]),
        "array": (array, ["image 0"]),
        "stack": (np.stack([array, array]), ["image 0", "image 1"]),
        "tensor": (tensor, ["image 0"]),
        "tensors": (torch.stack([tensor] * 3), ["image 0", "image 1", "image 2"]),
        "grey": ([array[..., 0]], ["image 0"]),
        "generator": ((p for p in photos[:2]), ["image 0", "image 1"]),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "path",
        "text path",
        "folder",
        "paths",
        "pil",
        "array",
        "stack",
        "tensor",
        "tensors",
        "grey",
        "generator",
    ],
)
def test_what_can_be_asked(tiny, make_folder, memory, kind):
    asked, names = kinds(make_folder({"a": 2, "b": 1}), memory[0])[kind]
    found = predict(tiny(), asked, batch_size=2)
    assert [guess.name for guess in found] == names
    assert all(len(guess.labels) == 2 for guess in found)  # fewer classes than top=5
    assert all(sum(guess.probabilities) == pytest.approx(1) for guess in found)


def test_one_photo_however_it_comes_is_the_same_photo(tiny, make_folder):
    folder = make_folder({"a": 1})
    photo = np.asarray(Image.open(folder / "a" / "00.png"))
    guesses = predict(tiny(), [folder / "a" / "00.png", photo, Image.fromarray(photo)])
    assert len({guess.probabilities for guess in guesses}) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "no images"),
        ("absent.png", "absent.png: can't be read"),
        ([object()], "image 0: an image can't be"),
    ],
)
def test_nothing_to_see(tiny, asked, message):
    with pytest.raises(DataError, match=message):
        predict(tiny(), asked)


def test_a_folder_without_photos_is_named(tiny, tmp_path):
    with pytest.raises(DataError, match="no images") as caught:
        predict(tiny(), tmp_path)
    assert caught.value.where == str(tmp_path)


def test_top_must_be_a_number_of_classes(tiny, memory):
    with pytest.raises(DataError, match="top=0"):
        predict(tiny(), memory[0], top=0)


def test_names_are_numbers_where_the_model_has_none(tiny, memory):
    assert set(predict(tiny(), memory[0][0])[0].labels) == {"0", "1"}


def test_labels_that_do_not_fit_the_outputs(tiny, memory):
    with pytest.raises(DataError, match="2 outputs, but remembers 3 labels"):
        predict(tiny(labels=("a", "b", "c")), memory[0][0])
