"""Pieces of tensors in a safetensors file a rank; real ones by two ranks are in test_torch_distributed.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats import read_container

WHOLE = torch.arange(24.0).reshape(4, 6)


def write(folder: Path, rank: int, tensors: dict[str, torch.Tensor], info: Any) -> None:
    text = (
        info
        if isinstance(info, str)
        else json.dumps({key: {"saved_offsets": at} for key, at in info.items()})
    )
    path = folder / f"shard-{rank:05}-model-00001-of-00001.safetensors"
    save_file(tensors, path, {"DCP_SHARDING_INFO": text} if text else None)


def halves(folder: Path) -> None:
    write(folder, 1, {"a": WHOLE[:1].clone(), "b": torch.ones(2)}, {"a": [0, 0], "b": [0]})
    write(folder, 2, {"a": WHOLE[1:].clone()}, {"a": [1, 0]})


def test_pieces_make_the_whole(tmp_path: Path) -> None:
    halves(tmp_path)
    container = read_container(tmp_path)
    assert container.format == "torch distributed safetensors"
    assert isinstance(container.tree, dict)
    assert torch.equal(container.tree["a"].read(), WHOLE)
    assert torch.equal(container.tree["a"][:, 2], WHOLE[:, 2])
    assert container.tree["b"].read().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("tensors", "info", "told"),
    [
        pytest.param({"a": WHOLE[1:]}, {"a": [2, 0]}, "18 of|24 of|of 30", id="a hole"),
        pytest.param({"a": WHOLE[1:]}, {"a": [0, 0]}, "overlap", id="overlap"),
        pytest.param({"a": WHOLE[1:]}, {"a": [1]}, "where this piece belongs", id="too few offsets"),
        pytest.param({"a": WHOLE[1:]}, {"a": [1, -1]}, "where this piece belongs", id="negative"),
        pytest.param({"a": WHOLE[1:]}, {"a": [1, 0.0]}, "where this piece belongs", id="fractional"),
        pytest.param({"a": WHOLE[1:]}, {"a": [True, 0]}, "where this piece belongs", id="a truth value"),
        pytest.param({"a": WHOLE[1:]}, {"a": [1 << 70, 0]}, "where this piece belongs", id="enormous"),
        pytest.param({"a": WHOLE[1:]}, {"a": [1 << 61, 0]}, "impossible", id="huge"),
        pytest.param({"a": WHOLE[1:]}, {"b": [1, 0]}, "where this piece belongs", id="not told"),
        pytest.param({"a": WHOLE[1:].int()}, {"a": [1, 0]}, "differ", id="another dtype"),
        pytest.param({"a": torch.ones(6)}, {"a": [1]}, "differ", id="other dimensions"),
        pytest.param({"a": WHOLE[1:]}, "", "lacks DCP_SHARDING_INFO", id="no information"),
        pytest.param({"a": WHOLE[1:]}, "[", "no valid JSON", id="no JSON"),
        pytest.param({"a": WHOLE[1:]}, '{"a": 1, "a": 2}', "twice", id="a key twice"),
        pytest.param({"a": WHOLE[1:]}, '{"a":' + "[" * 100_000, "no valid JSON", id="deep"),
        pytest.param({"a": WHOLE[1:]}, '{"a": [1, 0]}', "where this piece belongs", id="another form"),
    ],
)
def test_lies_are_refused(tensors: dict[str, torch.Tensor], info: Any, told: str, tmp_path: Path) -> None:
    halves(tmp_path)
    write(tmp_path, 2, {key: tensor.clone() for key, tensor in tensors.items()}, info)
    with pytest.raises(CheckpointError, match=told) as caught:
        read_container(tmp_path)
    assert str(tmp_path) in str(caught.value.where)
    assert len(str(caught.value)) < 1000


def test_a_missing_rank_is_named(tmp_path: Path) -> None:
    halves(tmp_path)
    write(tmp_path, 4, {"c": torch.ones(1)}, {"c": [0]})
    with pytest.raises(CorruptCheckpointError, match="rank 3"):
        read_container(tmp_path)
