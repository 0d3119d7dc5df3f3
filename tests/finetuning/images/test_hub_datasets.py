"""With the real package; it is left out where that isn't installed."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from torchgraft.errors import DataError
from torchgraft.finetuning.images import keep_readable, parts_of
from torchgraft.finetuning.images.hub_datasets import is_hub_dataset
from torchgraft.finetuning.images.image_data import ImageData

datasets = pytest.importorskip("datasets", reason="pip install datasets")
datasets.disable_progress_bars()

PHOTOS = [np.random.default_rng(i).integers(0, 256, (6, 5 + i, 3), dtype=np.uint8) for i in range(4)]
CLASSES = datasets.ClassLabel(names=["cat", "dog"])


def dataset(photos=PHOTOS, **columns):
    """Columns are (values, feature)."""
    features = {"image": datasets.Image(), **{name: kind for name, (_, kind) in columns.items()}}
    data = {"image": [Image.fromarray(photo) for photo in photos]}
    data |= {name: values for name, (values, _) in columns.items()}
    return datasets.Dataset.from_dict(data, features=datasets.Features(features))


def labelled(labels=(0, 1, 1, 0), kind=CLASSES, name="label"):
    return dataset(PHOTOS[: len(labels)], **{name: (list(labels), kind)})


@pytest.mark.parametrize(
    ("labels", "kind", "task", "classes", "expected"),
    [
        ((0, 1, 1, 0), CLASSES, "classes", ("cat", "dog"), (0, 1, 1, 0)),
        ((1, 1, 1, 1), CLASSES, "classes", ("cat", "dog"), (1, 1, 1, 1)),
        (("b", "a", "b", "b"), datasets.Value("string"), "classes", ("a", "b"), (1, 0, 1, 1)),
        ((2, 0, 1, 0), datasets.Value("int64"), "classes", ("0", "1", "2"), (2, 0, 1, 0)),
        (
            ([0], [1, 0], [], [1]),
            datasets.List(CLASSES),
            "multi-label",
            ("cat", "dog"),
            ((0,), (0, 1), (), (1,)),
        ),
        (
            (0.5, 1.5, 2.5, 3.0),
            datasets.Value("float32"),
            "regression",
            ("value",),
            ((0.5,), (1.5,), (2.5,), (3.0,)),
        ),
    ],
)
def test_labels(labels, kind, task, classes, expected):
    images = parts_of(labelled(labels, kind))["all"]
    assert (images.task, images.classes, images.labels) == (task, classes, expected)


def test_pictures_stay_encoded_until_they_are_needed():
    images = parts_of(labelled())["all"]
    assert set(images.items[0].image()) == {"bytes", "path"}
    for index, photo in enumerate(PHOTOS):
        np.testing.assert_array_equal(np.asarray(images.image(index)), photo)


def test_parts_of_a_dict_share_the_classes_of_train():
    train, val = (
        labelled(("a", "b", "c", "c"), datasets.Value("string")),
        labelled(("c", "a"), datasets.Value("string")),
    )
    parts = parts_of(datasets.DatasetDict({"train": train, "validation": val}))
    assert {name: part.labels for name, part in parts.items()} == {"train": (0, 1, 2, 2), "val": (2, 0)}
    assert parts["val"].classes == ("a", "b", "c")
    assert list(parts_of(datasets.DatasetDict({"whole": train}))) == ["all"]
    with pytest.raises(DataError, match="the parts small, large"):
        parts_of(datasets.DatasetDict({"small": val, "large": train}))


def test_other_names_of_columns_and_groups():
    data = dataset(
        kind=(list("abab"), datasets.Value("string")), patient=([1, 1, 2, 3], datasets.Value("int64"))
    )
    images = parts_of(ImageData(data, columns={"label": "kind", "group": "patient"}))["all"]
    assert (images.labels, images.groups) == ((0, 1, 0, 1), ("1", "1", "2", "3"))


def test_masks():
    masks = [Image.fromarray((photo[..., 0] > 99).astype(np.uint8)) for photo in PHOTOS]
    images = parts_of(dataset(mask=(masks, datasets.Image())))["all"]
    assert (images.task, images.classes) == ("segmentation", ("0", "1"))
    np.testing.assert_array_equal(images.mask(2), PHOTOS[2][..., 0] > 99)
    assert keep_readable(images, channels=3)[1] == ()


def test_folders_and_streams(tmp_path):
    labelled().save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": labelled(), "test": labelled()}).save_to_disk(tmp_path / "two")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "dataset_dict.json").write_text("{")
    assert parts_of(tmp_path / "one")["all"].labels == (0, 1, 1, 0)
    assert list(parts_of(str(tmp_path / "two"))) == ["train", "test"]
    with pytest.raises(DataError, match="can't be read"):
        parts_of(tmp_path / "broken")
    stream = labelled().to_iterable_dataset()
    assert is_hub_dataset(stream)
    images = parts_of(stream)["all"]
    assert (images.classes, images.labels) == (("cat", "dog"), (0, 1, 1, 0))
    np.testing.assert_array_equal(np.asarray(images.image(3)), PHOTOS[3])


def test_groups_and_parts_of_a_stream():
    text = datasets.Value("string")
    parts_ = ["train"] * 3 + ["test"]
    data = dataset(label=([0, 1, 1, 0], CLASSES), group=(list("pqqr"), text), split=(parts_, text))
    for source in (data, data.to_iterable_dataset()):
        parts = parts_of(source)
        assert {name: part.groups for name, part in parts.items()} == {
            "train": ("p", "q", "q"),
            "test": ("r",),
        }
        np.testing.assert_array_equal(np.asarray(parts["test"].image(0)), PHOTOS[3])


def test_a_stream_that_does_not_say_what_is_in_it():
    def rows():
        yield from ({"image": photo, "label": "ab"[index % 2]} for index, photo in enumerate(PHOTOS))

    images = parts_of(datasets.IterableDataset.from_generator(rows))["all"]
    assert (images.classes, images.labels) == (("a", "b"), (0, 1, 0, 1))
    np.testing.assert_array_equal(np.asarray(images.image(2)), PHOTOS[2])


def test_only_what_is_the_same_each_time_may_be_kept():
    assert parts_of(labelled())["all"].items[0].fixed
    data = labelled()
    data.set_transform(lambda rows: rows)
    assert not parts_of(data)["all"].items[0].fixed
    assert not parts_of([(PHOTOS[0], "a"), (PHOTOS[1], "b")])["all"].items[0].fixed


def test_a_users_own_transform_is_kept():
    data = labelled()
    data.set_transform(lambda rows: {**rows, "image": [np.asarray(image)[::-1] for image in rows["image"]]})
    images = parts_of(data)["all"]
    np.testing.assert_array_equal(np.asarray(images.image(1)), PHOTOS[1][::-1])


def test_broken_images_are_named(tmp_path):
    file = io.BytesIO()
    Image.fromarray(PHOTOS[0]).save(file, "PNG")
    whole = file.getvalue()
    data = datasets.Dataset.from_dict(
        {"image": [{"bytes": whole}, {"bytes": whole[:40]}], "label": [0, 1]},
        features=datasets.Features({"image": datasets.Image(), "label": CLASSES}),
    )
    images, skipped = keep_readable(parts_of(data)["all"], channels=3, unreadable="skip")
    assert (len(images), skipped) == (1, ("image 1",))


def test_no_images_or_labels():
    data = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    with pytest.raises(DataError, match="no column of image paths"):
        parts_of(data)


def test_the_package_is_not_imported_without_need():
    code = "import sys, numpy, torchgraft.finetuning.images as i; i.parts_of(([numpy.zeros((2, 2))], ['a']))"
    done = subprocess.run(
        [sys.executable, "-c", code + "; assert 'datasets' not in sys.modules"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
