"""Tied tensors that a file stores once and names twice; compared with the models they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file, save_model
from torch import nn

import torchgraft as tg
from torchgraft.formats import read_container


class Tied(nn.Module):
    """A language model's habit: what embeds the words also tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.middle = nn.Linear(3, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


def test_a_model_saved_by_the_package(tmp_path: Path) -> None:
    model = Tied()
    save_model(model, str(tmp_path / "x"))
    checkpoint = tg.open(tmp_path / "x")
    theirs = model.state_dict()
    assert set(checkpoint) == set(theirs)
    read = checkpoint.state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in theirs.items())
    assert read["embed.weight"] is read["head.weight"]
    assert checkpoint["embed.weight"].alias == checkpoint["head.weight"].alias
    assert checkpoint["head.weight"].name == "head.weight"
    twin = Tied()
    tg.graft(twin, checkpoint)
    assert torch.equal(twin.head.weight, model.embed.weight)


def test_converted_they_are_two(tmp_path: Path) -> None:
    save_model(Tied(), str(tmp_path / "x"))
    tg.convert(tmp_path / "x", tmp_path / "y.safetensors")
    twice = tg.open(tmp_path / "y.safetensors")
    assert set(twice) == set(tg.open(tmp_path / "x"))
    assert twice["embed.weight"].alias != twice["head.weight"].alias


@pytest.mark.parametrize(
    "metadata",
    [
        {"format": "pt"},
        {"b.weight": "absent.weight"},
        {"a.weight": "c.weight"},
        {"note": "a.weight"},
        {"b.bias": "a.weight"},
    ],
)
def test_other_texts_are_texts(metadata: dict[str, str], tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2), "c.weight": torch.zeros(2)}, tmp_path / "x", metadata)
    container = read_container(tmp_path / "x")
    assert set(container.tree) == {"a.weight", "c.weight"}  # type: ignore[call-overload]
    assert container.metadata == metadata


@pytest.mark.parametrize("noted", ["index", "shard"])
def test_in_shards(noted: str, tmp_path: Path) -> None:
    note = {"head.weight": "embed.weight"}
    name = "model-00001-of-00001.safetensors"
    save_file({"embed.weight": torch.ones(2)}, tmp_path / name, note if noted == "shard" else None)
    index = {"weight_map": {"embed.weight": name}, "metadata": note if noted == "index" else {}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    checkpoint = tg.open(tmp_path)
    assert list(checkpoint) == ["embed.weight", "head.weight"]
    assert checkpoint["embed.weight"].alias == checkpoint["head.weight"].alias


def test_external_values_that_two_initialisers_share(tmp_path: Path) -> None:
    def outside(name: str, offset: int) -> TensorProto:
        proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 2], data_location=1)
        for key, value in {"location": "data", "offset": str(offset), "length": "16"}.items():
            proto.external_data.add(key=key, value=value)
        return proto

    weights = [outside("a", 0), outside("b", 0), outside("c", 16)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [output], weights)), tmp_path / "x.onnx")
    (tmp_path / "data").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    tree: Any = read_container(tmp_path / "x.onnx").tree
    assert tree["a"].alias == tree["b"].alias != tree["c"].alias
    assert tree["b"].read().tolist() == [[0, 1], [2, 3]]
