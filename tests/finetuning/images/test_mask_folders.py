import numpy as np
import pytest
from PIL import Image

from torchgraft.errors import DataError
from torchgraft.finetuning.images import keep_readable, parts_of
from torchgraft.finetuning.images.image_data import ImageData

MASK = np.array([[0, 1, 255], [2, 2, 1]], np.uint8)


def pair(folder, name, mask=MASK, size=(3, 2)):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(folder / "images" / f"{name}.jpg")
    Image.fromarray(mask).save(folder / "masks" / f"{name}.png")


def test_pairs(tmp_path):
    pair(tmp_path, "b")
    pair(tmp_path, "a", np.zeros_like(MASK))
    images = parts_of(tmp_path)["all"]
    assert (images.task, images.classes) == ("segmentation", ("0", "1", "2"))
    assert images.names == ("images/a.jpg", "images/b.jpg")
    np.testing.assert_array_equal(images.mask(1), MASK)
    assert keep_readable(images, channels=3)[1] == ()


def test_parts_and_names_of_classes(tmp_path):
    pair(tmp_path / "train", "a")
    pair(tmp_path / "valid", "b")
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    parts = parts_of(str(tmp_path))
    assert {name: part.names for name, part in parts.items()} == {
        "train": ("train/images/a.jpg",),
        "val": ("valid/images/b.jpg",),
    }
    assert {part.classes for part in parts.values()} == {("sky", "road", "car")}
    told = parts_of(ImageData(tmp_path, classes=["x", "y", "z"]))
    assert told["train"].classes == ("x", "y", "z")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_what_has_no_other_half_is_named(tmp_path, kind):
    pair(tmp_path, "a")
    pair(tmp_path, "b")
    next((tmp_path / kind).glob("b.*")).unlink()
    other = {"images": "masks/b.png has no image", "masks": "images/b.jpg has no mask"}[kind]
    with pytest.raises(DataError, match=other):
        parts_of(tmp_path)


def test_a_mask_of_another_size_is_named_before_training(tmp_path):
    pair(tmp_path, "a")
    pair(tmp_path, "b", size=(4, 2))
    images = parts_of(tmp_path)["all"]
    with pytest.raises(DataError, match="its mask has 2 rows of 3 pixels, the image 2 of 4") as caught:
        keep_readable(images, channels=3)
    assert caught.value.where == "images/b.jpg"


def test_arrays_as_masks(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / "a.png")
    np.save(tmp_path / "masks" / "a.npy", MASK.astype(np.int32))
    np.testing.assert_array_equal(parts_of(tmp_path)["all"].mask(0), MASK)


def test_pairs_in_memory():
    photos = [np.zeros((2, 3, 3), np.uint8)] * 2
    images = parts_of((photos, [MASK, MASK * 0]))["all"]
    assert (images.task, images.classes) == ("segmentation", ("0", "1", "2"))
    data = list(zip(photos, [MASK, MASK * 0], strict=True))
    lazily = parts_of(data)["all"]
    np.testing.assert_array_equal(lazily.mask(0), MASK)
