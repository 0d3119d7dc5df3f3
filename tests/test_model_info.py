"""What a model remembers: round trips, replacement field by field, and statistics for other channels."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from torchgraft.model_info import ModelInfo, Preprocessing, attach_info, describe, info_of

numbers = st.floats(0.01, 10)
preprocessings = st.integers(1, 6).flatmap(
    lambda channels: st.builds(
        Preprocessing,
        size=st.tuples(st.integers(1, 999), st.integers(1, 999)),
        crop=st.floats(0.1, 1),
        interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
        mean=st.tuples(*[numbers] * channels),
        std=st.tuples(*[numbers] * channels),
        squash=st.booleans(),
    )
)
plain = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3)
infos = st.builds(
    ModelInfo,
    builder=st.none() | st.text(),
    builder_args=plain,
    surgery=st.lists(plain, max_size=3).map(tuple),
    labels=st.none() | st.lists(st.text(), max_size=4).map(tuple),
    preprocessing=st.none() | preprocessings,
    weights=st.dictionaries(st.text(), st.text(), max_size=3),
    task=st.none() | st.text(),
)


@given(infos)
def test_an_info_comes_back_from_json(info):
    assert ModelInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


@given(preprocessings)
def test_a_preprocessing_comes_back_from_json(preprocessing):
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


def test_json_names_every_field():
    assert list(ModelInfo().to_json()) == [field.name for field in fields(ModelInfo)]
    assert list(Preprocessing().to_json()) == [field.name for field in fields(Preprocessing)]


@pytest.mark.parametrize(
    "damage",
    [
        {"size": [224]},
        {"size": [224, 0]},
        {"size": None},
        {"crop": 0},
        {"crop": "wide"},
        {"interpolation": "lanczos"},
        {"mean": []},
        {"mean": [0.5, 0.5]},
        {"std": [1, 1, 0]},
        {"std": 3},
    ],
    ids=str,
)
def test_an_impossible_preprocessing_is_refused(damage):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Preprocessing.from_json(Preprocessing().to_json() | damage)


@pytest.mark.parametrize(
    "damage",
    [{"builder": 3}, {"labels": [1, 2]}, {"weights": {"source": 3}}, {"surgery": [4]}, {"builder_args": 5}],
    ids=str,
)
def test_a_damaged_info_is_refused(damage):
    with pytest.raises((KeyError, TypeError, ValueError)):
        ModelInfo.from_json(ModelInfo().to_json() | damage)


def test_files_of_before_tasks_were_known_are_read():
    data = ModelInfo(builder="timm/resnet18").to_json()
    del data["task"]
    assert ModelInfo.from_json(data) == ModelInfo(builder="timm/resnet18")
    with pytest.raises(TypeError, match="is not text"):
        ModelInfo.from_json({**data, "task": 3})


@pytest.mark.parametrize("name", [field.name for field in fields(ModelInfo) if field.name != "task"])
def test_a_missing_field_is_refused(name):
    data = ModelInfo().to_json()
    del data[name]
    with pytest.raises(KeyError, match=name):
        ModelInfo.from_json(data)


def test_no_labels_and_empty_labels_differ():
    assert ModelInfo.from_json(ModelInfo(labels=()).to_json()).labels == ()
    assert ModelInfo.from_json(ModelInfo().to_json()).labels is None


THREE = Preprocessing(mean=(0.1, 0.2, 0.6), std=(0.2, 0.4, 0.9))


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [
        (1, (0.3,), (0.5,)),
        (2, (0.3, 0.3), (0.5, 0.5)),
        (3, (0.1, 0.2, 0.6), (0.2, 0.4, 0.9)),
        (4, (0.1, 0.2, 0.6, 0.3), (0.2, 0.4, 0.9, 0.5)),
        (6, (0.1, 0.2, 0.6, 0.3, 0.3, 0.3), (0.2, 0.4, 0.9, 0.5, 0.5, 0.5)),
    ],
)
def test_other_channels_take_the_average(channels, mean, std):
    other = THREE.with_channels(channels)
    assert other.mean == pytest.approx(mean)
    assert other.std == pytest.approx(std)
    assert other.channels == channels
    assert (other.size, other.crop, other.interpolation) == (THREE.size, THREE.crop, THREE.interpolation)


@given(preprocessings, st.integers(1, 8))
def test_what_was_there_stays_where_channels_are_added(preprocessing, more):
    grown = preprocessing.with_channels(preprocessing.channels + more)
    assert grown.mean[: preprocessing.channels] == preprocessing.mean
    assert grown.std[: preprocessing.channels] == preprocessing.std
    assert preprocessing.with_channels(preprocessing.channels) == preprocessing


def test_a_model_nobody_told_anything_remembers_nothing():
    assert info_of(nn.Linear(2, 2)) == ModelInfo()


def test_an_attribute_of_that_name_that_is_something_else_is_not_ours():
    model = nn.Linear(2, 2)
    model.torchgraft_info = "a note of mine"
    assert info_of(model) == ModelInfo()


def test_describe_changes_what_it_is_given_and_leaves_the_rest():
    model = nn.Linear(2, 2)
    attach_info(model, ModelInfo(builder="timm/x", labels=("a", "b"), weights={"source": "w.pth"}))
    assert describe(model, preprocessing=THREE) is model
    assert info_of(model) == ModelInfo(
        builder="timm/x", labels=("a", "b"), preprocessing=THREE, weights={"source": "w.pth"}
    )
    describe(model, labels=["c", "d"])
    assert (info_of(model).labels, info_of(model).preprocessing) == (("c", "d"), THREE)
    describe(model)
    assert info_of(model).labels == ("c", "d")


def test_what_it_remembers_goes_where_the_model_goes():
    model = describe(nn.Linear(2, 2), labels=["a", "b"], preprocessing=THREE)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert info_of(twin) == info_of(model)
    assert "torchgraft_info" not in model.state_dict()


@pytest.mark.parametrize("thing", [ModelInfo(), Preprocessing()])
def test_it_is_frozen(thing):
    with pytest.raises(FrozenInstanceError):
        setattr(thing, fields(thing)[0].name, None)


@given(preprocessings, st.data())
def test_followed_by_is_one_after_the_other(before, data):
    per_channel = st.lists(st.floats(0.1, 5), min_size=before.channels, max_size=before.channels)
    scale, shift, image = data.draw(per_channel), data.draw(per_channel), data.draw(per_channel)
    both = before.followed_by(scale, shift)
    for channel, x in enumerate(image):
        first = (x - before.mean[channel]) / before.std[channel]
        wanted = first * scale[channel] + shift[channel]
        assert (x - both.mean[channel]) / both.std[channel] == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_preprocessing_of_files_that_dont_know_squash():
    data = Preprocessing(squash=True).to_json()
    assert Preprocessing.from_json(data).squash
    del data["squash"]
    assert not Preprocessing.from_json(data).squash


def test_a_path_is_no_list_of_labels():
    with pytest.raises(TypeError, match="read_labels"):
        describe(nn.Linear(2, 2), labels="imagenet.txt")
