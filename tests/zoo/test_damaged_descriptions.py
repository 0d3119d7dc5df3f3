"""A description in a file is read with suspicion: one clear error, and no code it names is run."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import torchgraft as tg
from torchgraft import CheckpointError, MatchError, ModelError, TorchgraftError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tg.create_model("torchvision/squeezenet1_1", labels=["a", "b", "c"])
    return tg.save(model, tmp_path_factory.mktemp("saved") / "x.safetensors")


@pytest.fixture
def described(saved: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The saved weights with another description."""

    def write(text: str) -> Path:
        save_file(load_file(saved), tmp_path / "y.safetensors", {"format": "pt", "torchgraft": text})
        return tmp_path / "y.safetensors"

    return write


@pytest.mark.parametrize(
    "text",
    ["", "{", "3", "[]", '"x"', "[" * 100_000, '{"info": 3}', '{"info": [1]}', '{"info": {"builder": null}}'],
    ids=lambda text: text[:12] or "nothing",
)
def test_what_is_no_description(text, described):
    with pytest.raises(CheckpointError, match="description of the model is damaged") as caught:
        tg.load(described(text))
    assert str(caught.value.where).endswith("y.safetensors")
    assert "torchgraft.graft" in str(caught.value.hint)


CHANGES: list[tuple[str, Any]] = [
    ("builder", 5),
    ("builder_args", [1]),
    ("builder_args", None),
    ("surgery", ["ab"]),
    ("surgery", [{"wings": 2}]),
    ("surgery", [{"num_classes": 3, "head": ["wings"]}]),
    ("surgery", [{"num_classes": 3, "head": 5}]),
    ("surgery", [{"num_classes": -3, "head": ["classifier.1"]}]),
    ("surgery", [{"num_classes": 2**62, "head": ["classifier.1"]}]),
    ("surgery", [{"in_channels": 3, "in_mode": 5}]),
    ("labels", "abc"),
    ("labels", [1, 2, 3]),
    ("labels", 5),
    ("preprocessing", [1]),
    ("preprocessing.size", [1]),
    ("preprocessing.size", [0, 5]),
    ("preprocessing.crop", 0),
    ("preprocessing.crop", "NaN"),
    ("preprocessing.interpolation", "area"),
    ("preprocessing.mean", ["x"]),
    ("preprocessing.mean", [0.5]),
    ("preprocessing.std", [0, 0, 0]),
    ("weights", {"source": 3}),
]


@pytest.mark.parametrize(("place", "value"), CHANGES, ids=lambda value: str(value)[:40])
def test_a_wrong_value(place, value, saved, described):
    with pytest.raises(CheckpointError, match="description of the model is damaged"):
        tg.load(described(changed(saved, place, value)))


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        ("builder", "os:getcwd", ModelError, "not trusted to name code"),
        ("builder", "timm/hf-hub:some/one", ModelError, "not trusted to name code"),
        ("builder", "torchvision/nothing", ModelError, "no model of that name"),
        ("builder", "torchvision/alexnet", MatchError, "do not fit together"),
        ("builder_args", {"wings": 2}, ModelError, "wings"),
        ("builder_args", {"weights": "DEFAULT"}, ModelError, "by itself: weights="),
        ("builder_args", {"weights_backbone": "DEFAULT"}, ModelError, "by itself: weights_backbone="),
    ],
)
def test_a_wrong_model(place, value, error, message, saved, described):
    with pytest.raises(error, match=message):
        tg.load(described(changed(saved, place, value)))


def test_of_a_later_version(saved, described):
    later = {**description(saved), "torchgraft_model": 2}
    with pytest.raises(CheckpointError, match="version 2") as caught:
        tg.load(described(json.dumps(later)))
    assert "update" in str(caught.value.hint)


def test_no_error_is_raw_when_bytes_are_cut(saved, tmp_path):
    data = saved.read_bytes()
    for length in [0, 1, 8, 100, 2000, len(data) // 2, len(data) - 1]:
        (tmp_path / "cut.safetensors").write_bytes(data[:length])
        with pytest.raises(TorchgraftError, match=r"cut\.safetensors"):
            tg.load(tmp_path / "cut.safetensors")


def description(saved: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(str(tg.open(saved).metadata["torchgraft"]))
    return described


def changed(saved: Path, place: str, value: object) -> str:
    about = copy.deepcopy(description(saved))
    *path, last = place.split(".")
    entry = about["info"]
    for part in path:
        entry = entry[part]
    entry[last] = value
    return json.dumps(about)
