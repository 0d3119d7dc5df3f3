"""Truth of each kind: counted, chosen from, and brought to another list of classes."""

import numpy as np
import pytest

from torchgraft.errors import DataError
from torchgraft.finetuning.images.image_set import Images


def images(task, labels, classes, **more) -> Images:
    count = len(labels)
    return Images(
        [f"i{i}" for i in range(count)], labels, classes, tuple(map(str, range(count))), task, **more
    )


MASKS = tuple(np.array(rows, np.uint8) for rows in ([[0, 255]], [[1, 1]], [[0, 1]]))


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (images("classes", (1, 1, 0), ("a", "b", "c")), {"a": 1, "b": 2, "c": 0}),
        (images("multi-label", ((0, 1), (1,), ()), ("a", "b", "c")), {"a": 1, "b": 2, "c": 0}),
        (images("regression", ((1.0, 2.0), (3.0, 4.0)), ("x", "y")), {"x": 2, "y": 2}),
        (images("segmentation", MASKS, ("a", "b", "c")), {"a": 2, "b": 2, "c": 0}),
    ],
)
def test_counts(found, counts):
    assert found.counts() == counts


@pytest.mark.parametrize(
    ("found", "to", "labels"),
    [
        (images("classes", (1, 1, 0), ("a", "b")), ("b", "x", "a"), (0, 0, 2)),
        (images("classes", (1, 1), ("a", "b")), ("b", "x"), (0, 0)),  # there is no a
        (images("multi-label", ((0, 1), (), (1,)), ("a", "b")), ("b", "x", "a"), ((0, 2), (), (0,))),
        (images("regression", ((1.0, 2.0), (3.0, 4.0)), ("x", "y")), ("y", "x"), ((2.0, 1.0), (4.0, 3.0))),
        (images("regression", ((1.0, 2.0),), ("value 0", "value 1")), ("far", "high"), ((1.0, 2.0),)),
        (images("regression", ((1.0,),), ("value",)), ("age",), ((1.0,),)),
    ],
)
def test_with_other_classes(found, to, labels):
    moved = found.with_classes(to)
    assert (moved.classes, moved.labels, moved.task) == (to, labels, found.task)


@pytest.mark.parametrize(
    ("found", "to", "message"),
    [
        (images("classes", (0, 1), ("cat", "dog")), ("cats", "dog"), r"1 of 2 classes .*'cat'\n.*'cats'"),
        (images("multi-label", ((0,),), ("cat", "dog")), ("dog",), "1 of 1 classes .*'cat'"),
        (images("regression", ((1.0,),), ("age",)), ("weight",), "1 of 1 numbers .*'age'"),
        (images("regression", ((1.0,),), ("age",)), ("age", "weight"), "lack: 'weight'"),
        (images("segmentation", MASKS, ("a", "b")), ("a", "c"), "1 of 2 classes .*'b'"),
    ],
)
def test_names_that_are_not_there(found, to, message):
    with pytest.raises(DataError, match=message):
        found.with_classes(to)


def test_masks_of_other_classes():
    found = images("segmentation", MASKS, ("a", "b")).with_classes(("b", "x", "a"))
    assert [found.mask(index).tolist() for index in range(3)] == [[[2, 255]], [[0, 0]], [[2, 0]]]
    again = found.with_classes(("a", "b", "x"))
    assert [again.mask(index).tolist() for index in range(3)] == [mask.tolist() for mask in MASKS]
    assert found.counts() == {"b": 2, "x": 0, "a": 2}


def test_a_subset_keeps_what_belongs_to_each():
    found = images("multi-label", ((0,), (1,), ()), ("a", "b"), groups=("p", "q", "p")).subset([2, 0])
    assert (found.labels, found.names, found.groups, found.task) == (
        ((), (0,)),
        ("2", "0"),
        ("p", "p"),
        "multi-label",
    )
