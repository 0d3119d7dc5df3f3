"""Splits of several classes, numbers and groups, beside chance and scikit-learn's StratifiedGroupKFold."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from torchgraft.errors import DataError
from torchgraft.finetuning.images import Images, split


def images(labels, task="classes", groups=(), classes=8):
    names = tuple(f"{index}.jpg" for index in range(len(labels)))
    return Images(
        list(names), tuple(labels), tuple(map(str, range(classes))), names, task=task, groups=tuple(groups)
    )


def spread(labels, held_out) -> float:
    """How far the classes' shares in the validation part are from one another: root of the mean square."""
    total = Counter(label for row in labels for label in row)
    found = Counter(label for row in held_out for label in row)
    shares = np.array([found[label] / count for label, count in total.items()])
    return float(np.sqrt(((shares - 0.2) ** 2).mean()))


@given(
    labels=st.lists(
        st.sets(st.integers(0, 5), max_size=3).map(lambda s: tuple(sorted(s))), min_size=5, max_size=60
    ),
    val=st.sampled_from([0.1, 0.2, 0.5]),
    seed=st.integers(0, 5),
)
@settings(deadline=None)
def test_several_classes_are_divided_into_two_parts_of_the_right_size(labels, val, seed):
    data = images(labels, "multi-label")
    train, held_out = split(data, val, seed)
    assert sorted(train.names + held_out.names) == sorted(data.names)
    assert len(train) > 0
    assert len(held_out) > 0
    assert (
        abs(len(held_out) - val * len(labels)) <= 6
    )  # a class is off by half an image at most, and there are 6
    assert split(data, val, seed)[1].names == held_out.names


def test_rare_classes_are_divided_too():
    """Of 20 seeds, each with classes of 5 to 400 images: nearer to the share than chance by far."""
    random = np.random.default_rng(0)
    shares = [0.4, 0.2, 0.1, 0.05, 0.02, 0.005]
    ours, chance = [], []
    for seed in range(20):
        flags = random.random((1000, 6)) < shares
        labels = [tuple(np.flatnonzero(row).tolist()) for row in flags]
        held_out = split(images(labels, "multi-label"), 0.2, seed)[1].labels
        total, found = (Counter(label for row in rows for label in row) for rows in (labels, held_out))
        assert all(abs(found[label] - 0.2 * count) <= 2 for label, count in total.items())
        ours.append(spread(labels, held_out))
        chance.append(spread(labels, [labels[i] for i in random.permutation(1000)[:200]]))
    assert np.mean(ours) < np.mean(chance) / 2


def test_numbers_are_spread_over_their_range():
    values = [(float(value),) for value in np.random.default_rng(0).lognormal(size=500)]
    _, held_out = split(images(values, "regression"), 0.2, 0)
    assert len(held_out) == 100
    ranks = np.argsort(np.argsort([value for (value,) in values]))
    chosen = sorted(ranks[int(name.removesuffix(".jpg"))] for name in held_out.names)
    assert [rank // 5 for rank in chosen] == list(range(100))  # one of each five neighbours
    assert split(images(values, "regression"), 0.2, 1)[1].names != held_out.names


def test_masks_are_divided_by_name_only():
    data = images([f"{i}.png" for i in range(10)], "segmentation")
    train, held_out = split(data, 0.3, 0)
    assert (len(train), len(held_out)) == (7, 3)


@given(
    groups=st.lists(st.integers(0, 12), min_size=4, max_size=80).filter(lambda g: len(set(g)) > 1),
    classes=st.integers(1, 3),
    seed=st.integers(0, 3),
)
@settings(deadline=None)
def test_no_group_is_on_both_sides_and_training_has_every_class(groups, classes, seed):
    labels = [(index * 7 + group) % classes for index, group in enumerate(groups)]
    data = images(labels, groups=map(str, groups))
    holders = [
        {group for group, label in zip(groups, labels, strict=True) if label == c} for c in set(labels)
    ]
    if set().union(*(holder for holder in holders if len(holder) == 1)) == set(groups):
        with pytest.raises(DataError, match="each has a class that is in no other"):
            split(data, 0.25, seed)
        return
    train, held_out = split(data, 0.25, seed)
    assert not set(train.groups) & set(held_out.groups)
    assert set(train.labels) == set(labels)
    assert len(held_out) > 0


def test_groups_are_as_even_as_those_of_scikit_learn():
    """Of 20 draws of 60 groups of 1 to 30 images: the classes' shares are no further from a fifth."""
    ours, theirs = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        sizes = random.integers(1, 31, 60)
        groups = np.repeat(np.arange(60), sizes)
        tendency = random.random((60, 4)) ** 3
        labels = np.array([random.choice(4, p=tendency[g] / tendency[g].sum()) for g in groups])
        rows = [(int(label),) for label in labels]
        held_out = split(images(labels.tolist(), groups=map(str, groups)), 0.2, seed)[1]
        ours.append(spread(rows, [(label,) for label in held_out.labels]))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
        theirs.append(spread(rows, [rows[i] for i in next(iter(folds))[1]]))
    assert np.mean(ours) <= np.mean(theirs)


@pytest.mark.parametrize(
    ("groups", "labels", "message"),
    [
        ("aaaa", [0, 1, 0, 1], "all images belong to the group 'a'"),
        ("aabb", [0, 0, 1, 1], "each has a class that is in no other"),
    ],
)
def test_groups_that_can_not_be_split(groups, labels, message):
    with pytest.raises(DataError, match=message):
        split(images(labels, groups=groups), 0.2, 0)


def test_the_one_group_that_can_be_spared_is_found():
    labels, groups = [0, 1, 0, 0], ["a", "a", "b", "b"]
    for seed in range(6):  # whichever comes first by rank
        assert set(split(images(labels, groups=groups), 0.2, seed)[1].groups) == {"b"}


@pytest.mark.parametrize("task", ["multi-label", "regression", "segmentation"])
def test_one_image(task):
    with pytest.raises(DataError, match="1 image can't be split"):
        split(images([(1,)], task), 0.2, 0)


@pytest.mark.parametrize("task", ["multi-label", "regression", "segmentation"])
def test_two_images(task):
    train, held_out = split(images([(1,), (2,)], task), 0.2, 0)
    assert (len(train), len(held_out)) == (1, 1)
