import numpy as np
import pytest

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_data import ImageData
from torchgraft.finetuning.learning_data import learning_data


def learn(data, val=0.25, **told):
    return learning_data(
        data,
        val,
        known=None,
        seed=0,
        channels=3,
        unreadable="error",
        progress=lambda step, total: None,
        **told,
    )


def photos(count):
    return list(np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("counts", "imbalance", "noted"),
    [((8, 8), 1.0, False), ((40, 8), 5.0, False), ((48, 8), 6.0, True)],
)
def test_uneven_classes_are_noted(counts, imbalance, noted):
    labels = ["few"] * counts[1] + ["many"] * counts[0]
    found = learn((photos(len(labels)), labels))
    assert found.imbalance == pytest.approx(imbalance, rel=0.01)
    notes = "\n".join(found.notes())
    assert ("the largest class has 6 times the images of the smallest (many 36, few 6)" in notes) == noted


def test_many_classes_are_shown_in_part():
    labels = [name for index, name in enumerate("abcdefgh") for _ in range(2 + 6 * index)]
    note = learn((photos(len(labels)), labels)).notes()[0]
    assert "(h 33, g 28, f 24, …, c 10, b 6, a 1)" in note


def test_numbers_have_no_imbalance():
    found = learn((photos(8), [index + 0.5 for index in range(8)]))
    assert (found.train.task, found.imbalance, found.notes()) == ("regression", None, ())
    assert found.counts() == {"train": 6, "val": 2, "skipped": 0}


def test_classes_without_a_validation_image_are_named():
    groups = ["1"] * 4 + ["2", "3"] * 4
    found = learn(ImageData((photos(12), ["rare"] * 4 + ["x"] * 8), groups=groups))
    assert "no validation image of rare: nothing is measured of it" in found.notes()
    assert set(found.val.groups) <= {"2", "3"}


def test_tasks_must_agree():
    with pytest.raises(DataError, match="for the task 'classes', not 'regression'"):
        learn(ImageData((photos(4), [0, 1, 0, 1]), task="classes"), task="regression")
    numbers = learn((photos(4), [1, 2, 3, 4]), task="regression")
    assert numbers.train.task == numbers.val.task == "regression"
    own = learn((photos(4), [1, 2, 3, 4]), val=(photos(2), [7, 9]), task="regression")
    assert own.val.labels == ((7.0,), (9.0,))


def test_the_other_order_of_classes_keeps_what_is_known():
    found = learn(ImageData((photos(8), list("aabbaabb")), groups=list("11223344")))
    turned = found.with_classes(("b", "a"))
    assert turned.train.groups == found.train.groups
    assert turned.duplicates is found.duplicates
    assert [turned.train.classes[i] for i in turned.train.labels] == [
        found.train.classes[i] for i in found.train.labels
    ]
