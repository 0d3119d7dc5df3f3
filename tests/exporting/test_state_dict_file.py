"""torchvision's way: a state dict, by its hash if wanted."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

import torchgraft as tg


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "pytorch_model.bin"])
def test_torch_load_and_load_state_dict_take_it(name, small, tmp_path):
    exported = tg.export(small, tmp_path / name)
    assert (exported.format, exported.path) == ("torchvision", tmp_path / name)
    state = torch.load(exported.path, weights_only=True)
    other = type(small)()
    other.load_state_dict(state)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(other.eval()(images), small(images))
    assert not any(value.requires_grad for value in state.values())


def test_the_name_has_the_hash_that_torch_hub_checks(small, tmp_path):
    exported = tg.export(small, tmp_path / "small.pth", hash_name=True)
    digest = hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert exported.path.name == f"small-{digest[:8]}.pth"
    assert torch.hub.HASH_REGEX.search(exported.path.name)[1] == digest[:8]
    assert digest in exported.checked
    assert [path.name for path in tmp_path.iterdir()] == [exported.path.name]
    assert tg.export(small, tmp_path / "small.pth", hash_name=True).path == exported.path


def test_tied_tensors_stay_tied(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    tg.export(model, tmp_path / "tied.pth")
    state = torch.load(tmp_path / "tied.pth", weights_only=True)
    assert state["0.weight"].data_ptr() == state["1.weight"].data_ptr()


def test_another_ending_is_refused(small, tmp_path):
    with pytest.raises(tg.SaveError, match=r"none of a state dict's file"):
        tg.export(small, tmp_path / "small", format="torchvision")


def test_an_absent_folder_is_refused(small, tmp_path):
    with pytest.raises(tg.SaveError, match="no such folder"):
        tg.export(small, tmp_path / "absent" / "small.pth")
