import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from torchgraft.errors import DataError
from torchgraft.finetuning.images import parts_of

PHOTO = np.zeros((4, 4), np.uint8)


class Pairs(Dataset):
    def __init__(self, labels, **attributes):
        self.labels = labels
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return PHOTO, self.labels[index]


@pytest.mark.parametrize(
    ("labels", "known", "complete", "classes", "indices"),
    [
        (["b", "a", "b"], None, True, ("a", "b"), (1, 0, 1)),
        ([1, 0, 1], None, True, ("0", "1"), (1, 0, 1)),
        ([1, 0, 1], ("no", "yes"), True, ("no", "yes"), (1, 0, 1)),
        ([1, 0, 1], ("x", "y", "z"), True, ("0", "1"), (1, 0, 1)),  # a head of other classes
        ([2, 0, 2], ("x", "y", "z"), False, ("x", "y", "z"), (2, 0, 2)),
        (np.array([1, 0, 1]), None, True, ("0", "1"), (1, 0, 1)),
        (torch.tensor([1, 0, 1]), None, True, ("0", "1"), (1, 0, 1)),
    ],
)
def test_labels(labels, known, complete, classes, indices):
    images = parts_of(([PHOTO] * 3, labels), known=known, complete=complete)["all"]
    assert (images.classes, images.labels) == (classes, indices)
    assert images.names[2] == "image 2"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (([PHOTO] * 2, [0]), "2 images, but 1 labels"),
        (([], []), "no images"),
        (([PHOTO] * 2, [0, -1]), "label -1 is out of range"),
        (([PHOTO] * 2, [0, 2]), "go up to 2, but none is 1"),
        (([PHOTO] * 2, [0, 0.5]), "neither a class index"),
        (([PHOTO] * 2, [0, "a"]), "neither a class index"),
        (42, "a int is not data"),
        (Pairs([0, 1], targets=[0]), "2 entries, but 1 targets"),
        (Pairs([0, 2], classes=["a", "b"]), "label 2 is out of range: there are 2 classes"),
    ],
)
def test_unusable_data(data, message):
    with pytest.raises(DataError, match=message):
        parts_of(data)


def test_index_beyond_the_models_outputs():
    with pytest.raises(DataError, match="label 7 is out of range: there are 3 classes") as caught:
        parts_of(([PHOTO] * 2, [0, 7]), known=("a", "b", "c"), complete=False)
    assert caught.value.where == "image 1"


@pytest.mark.parametrize(
    "data",
    [Pairs([1, 0, 1]), Pairs([None] * 3, targets=[1, 0, 1]), Pairs([1, 0, 1], classes=["0", "1"])],
)
def test_dataset(data):
    images = parts_of(data)["all"]
    assert (images.classes, images.labels) == (("0", "1"), (1, 0, 1))
    assert images.image(1, channels=1).size == (4, 4)


def test_dataset_of_something_else():
    class Wrong(Pairs):
        def __getitem__(self, index):
            return PHOTO

    with pytest.raises(DataError, match=r"must give \(image, label\)"):
        parts_of(Wrong([0, 1]))


def test_other_order_of_classes():
    images = parts_of(([PHOTO] * 3, ["b", "a", "b"]))["all"].with_classes(["c", "b", "a"])
    assert images.labels == (1, 2, 1)


def test_classes_the_model_does_not_know_are_named():
    images = parts_of(([PHOTO] * 3, ["tabbi", "dog", "dog"]))["all"]
    with pytest.raises(DataError, match=r"1 of 2 classes .* unknown to the model: 'tabbi'") as caught:
        images.with_classes(["tabby", "dog"])
    assert "'tabby'" in (caught.value.hint or "")


def described(folder, text):
    (folder / "data.json").write_text(text)
    return folder / "data.json"


def test_a_file_may_say_all_that_image_data_does(make_folder):
    root = make_folder({"cat/p1": 2, "cat/p2": 1, "dog/p1": 1})
    path = described(root.parent, '{"source": "photos", "groups": "/(p[0-9]+)/"}')
    images = parts_of(str(path))["all"]
    assert (images.classes, images.groups) == (("cat", "dog"), ("p1", "p1", "p2", "p1"))
    (root / "t.csv").write_text("f,kind\ncat/p1/00.png,x\n")
    path = described(root.parent, '{"source": "photos/t.csv", "root": "photos", "columns": {"path": "f"}}')
    assert parts_of(path)["all"].items == [root / "cat/p1/00.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read"),
        ("[]", "doesn't say where the images are"),
        ('{"root": "a"}', "doesn't say where the images are"),
        ('{"source": "photos", "labels": 1}', "'labels' is unknown"),
        ('{"source": "photos", "groups": "("}', "not a regular expression"),
        ('{"source": "photos", "groups": "x"}', "finds nothing in it"),
        ('{"source": "absent"}', "no such folder"),
    ],
)
def test_unusable_descriptions(make_folder, text, message):
    root = make_folder({"a": 1, "b": 1})
    with pytest.raises(DataError, match=message):
        parts_of(described(root.parent, text))


def test_pairs_in_a_list_are_a_dataset():
    images = parts_of([(PHOTO, "a"), (PHOTO, "b")])["all"]
    assert images.labels == (0, 1)


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        ([["a"], ["b", "a"], []], "multi-label", ((0,), (0, 1), ())),
        ([[0], [1, 0], []], "multi-label", ((0,), (0, 1), ())),
        ([{"b"}, {"a"}, ("a", "a")], "multi-label", ((1,), (0,), (0,))),
        (np.array([[1, 0], [1, 1], [0, 0]]), "multi-label", ((0,), (0, 1), ())),
        (torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), "multi-label", ((0,), (0, 1), ())),
        ([[True, False], [True, True], [False, False]], "multi-label", ((0,), (0, 1), ())),
        ([0.5, 1.5, 2], "regression", ((0.5,), (1.5,), (2.0,))),
        (np.array([[0.5, 1], [2.5, 2.5], [3, 4.5]]), "regression", ((0.5, 1), (2.5, 2.5), (3, 4.5))),
        ([PHOTO, PHOTO + 1, PHOTO], "segmentation", None),
    ],
)
def test_tasks_by_the_looks_of_labels(labels, task, expected):
    images = parts_of(([PHOTO] * 3, labels))["all"]
    assert images.task == task
    assert len(images.classes) == 2 - (task == "regression" and len(expected[0]) == 1)
    if expected is not None:
        assert images.labels == expected


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ([[0], [2]], None, "go up to 2, but none is 1"),
        ([[], []], "multi-label", "no image has a label"),
        ([np.array([1, 2]), np.array([0, 1])], "multi-label", "not a 0 or 1 for each class"),
        ([1.5, float("inf")], "regression", "not a finite number"),
        ([[1.5, 2.5], [1.5]], "regression", "images have 1 to 2 numbers"),
        (["a", "b"], "regression", "not a finite number"),
        ([0, 1], "boxes", "there is no task 'boxes'"),
    ],
)
def test_labels_that_do_not_fit_the_task(labels, task, message):
    with pytest.raises(DataError, match=message):
        parts_of(([PHOTO] * 2, labels), task=task)
