"""`save(like=…)`: back into the names, order, dtypes and kind of file of the checkpoint."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg


class Theirs(nn.Module):
    """Fused projections, other names than `Ours`, another order."""

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.head = nn.Linear(16, classes)
        self.stem = nn.Conv2d(channels, 16, 8, stride=8)
        self.qkv = nn.Linear(16, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return self.head((torch.softmax(q @ k.mT / 4, -1) @ v).mean(1))


class Ours(nn.Module):
    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.patch = nn.Conv2d(channels, 16, 8, stride=8)
        self.q_proj = nn.Linear(16, 16)
        self.k_proj = nn.Linear(16, 16)
        self.v_proj = nn.Linear(16, 16)
        self.classifier = nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens)
        return self.classifier((torch.softmax(q @ k.mT / 4, -1) @ v).mean(1))


RENAME = {"stem": "patch", "head": "classifier"}


@pytest.fixture
def pair(tmp_path):
    """A model, the checkpoint that filled it, and the plan by which it did."""
    torch.manual_seed(0)
    state = {f"module.{name}": value for name, value in Theirs().state_dict().items()}
    file = tmp_path / "theirs.pth.tar"
    torch.save({"epoch": 7, "state_dict": state, "best": {"top1": 0.5}}, file)
    model = Ours()
    plan = tg.plan(model, file, rename=["module.=", *(f"{a}.={b}." for a, b in RENAME.items())])
    plan.apply()
    return model, file, plan


def train(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)


def without_module(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): value for name, value in state.items()}


def read(file) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)["state_dict"]


@pytest.mark.parametrize("keep", ["object", "file"])
def test_an_unchanged_model_gives_the_checkpoint_bit_for_bit(keep, pair, tmp_path):
    model, file, plan = pair
    if keep == "file":
        plan.save(tmp_path / "plan.json")
    written = tg.save(
        model, tmp_path / "back", like=file, plan=plan if keep == "object" else tmp_path / "plan.json"
    )
    assert written == tmp_path / "back" / "theirs.pth.tar"
    state, before = read(written), read(file)
    assert list(state) == list(before)
    for name, value in before.items():
        assert torch.equal(state[name], value)


def test_a_trained_model_runs_in_the_code_that_it_came_from(pair, tmp_path, caplog):
    model, file, plan = pair
    train(model)
    tg.save(model, tmp_path / "new.pth", like=file, plan=plan)
    theirs = Theirs()
    theirs.load_state_dict(
        {name.removeprefix("module."): v for name, v in read(tmp_path / "new.pth").items()}
    )
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(theirs(images), model(images))
    assert "not written: epoch, best" in caplog.text


@pytest.mark.parametrize("planned", ["before", "after"])
def test_other_channels_and_classes_go_along(planned, pair, tmp_path, caplog):
    model, file, plan = pair
    tg.adapt(model, in_channels=4, num_classes=3, stem="patch", head="classifier")
    train(model)
    if planned == "after":
        plan = tg.plan(model, file, rename=["module.=", *(f"{a}.={b}." for a, b in RENAME.items())])
    tg.save(model, tmp_path / "new.pth", like=file, plan=plan)
    theirs = Theirs(4, 3)
    theirs.load_state_dict(
        {name.removeprefix("module."): v for name, v in read(tmp_path / "new.pth").items()}
    )
    images = torch.rand(2, 4, 32, 32)
    torch.testing.assert_close(theirs(images), model(images))
    assert "of the model's size: module.stem.weight [16, 4, 8, 8] (there [16, 3, 8, 8])" in caplog.text or (
        "module.head.weight [3, 16] (there [10, 16])" in caplog.text
    )


def test_or_the_checkpoints_sizes_stay(pair, tmp_path):
    model, file, _ = pair
    tg.adapt(model, num_classes=3, head="classifier")
    plan = tg.plan(model, file, rename=["module.=", *(f"{a}.={b}." for a, b in RENAME.items())])
    tg.save(model, tmp_path / "new.pth", like=file, plan=plan, sizes="checkpoint")
    state, before = read(tmp_path / "new.pth"), read(file)
    assert {name: value.shape for name, value in state.items()} == {n: v.shape for n, v in before.items()}
    assert torch.equal(state["module.head.weight"], before["module.head.weight"])


def test_the_plan_is_made_anew_where_none_is_given(tmp_path):
    torch.manual_seed(0)
    source = Theirs()
    torch.save(
        {f"module.{name}": value for name, value in source.state_dict().items()}, tmp_path / "flat.pth"
    )
    model = Theirs()
    tg.graft(model, tmp_path / "flat.pth")
    train(model)
    tg.save(model, tmp_path / "new.pth", like=tg.open(tmp_path / "flat.pth"))
    state = torch.load(tmp_path / "new.pth", weights_only=True)
    assert {name.removeprefix("module."): value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }


def test_dtypes_and_the_header_are_the_checkpoints(tmp_path):
    state = {name: value.half() for name, value in Theirs().state_dict().items()}
    save_file(state, tmp_path / "w.safetensors", metadata={"format": "pt", "author": "them"})
    model = Theirs()
    tg.graft(model, tmp_path / "w.safetensors")
    written = tg.save(model, tmp_path / "out", like=tmp_path / "w.safetensors")
    assert written == tmp_path / "out" / "w.safetensors"
    with safe_open(written, "pt") as file:
        assert file.metadata() == {"format": "pt", "author": "them"}
        for name, value in state.items():
            assert file.get_tensor(name).dtype == torch.float16
            assert torch.equal(file.get_tensor(name), value)


def test_shards_stay_shards(tmp_path):
    model = Theirs()
    tg.convert(tg.Checkpoint.from_state_dict(model.state_dict()), tmp_path / "shards", shard_size=2000)
    count = len(list((tmp_path / "shards").glob("*.safetensors")))
    assert count > 1
    other = Theirs()
    tg.graft(other, tmp_path / "shards")
    tg.save(other, tmp_path / "out", like=tmp_path / "shards")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(model.state_dict())
    assert tg.diff(tmp_path / "shards", tmp_path / "out", values=True).equal


def test_a_turned_head_of_other_classes(tmp_path):
    """The checkpoint has (in, out), as Keras does."""
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))
    state = {f"l{name}": value.t().contiguous() for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "turned.pth")
    layouts = {"l0.weight": "IO", "l2.weight": "IO"}
    plan = tg.plan(model, tmp_path / "turned.pth", layouts=layouts, rename=["l="])
    plan.apply()
    tg.adapt(model, num_classes=3, head="2")
    train(model)
    tg.save(model, tmp_path / "new.pth", like=tmp_path / "turned.pth", plan=plan)
    found = torch.load(tmp_path / "new.pth", weights_only=True)
    assert torch.equal(found["l0.weight"], model[0].weight.t())
    assert torch.equal(found["l2.weight"], model[2].weight.t())
    assert torch.equal(found["l2.bias"], model[2].bias)


def test_tied_tensors_stay_tied(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    torch.save(model.state_dict(), tmp_path / "tied.pth")
    tg.save(model, tmp_path / "new.pth", like=tmp_path / "tied.pth")
    state = torch.load(tmp_path / "new.pth", weights_only=True)
    assert state["0.weight"].data_ptr() == state["2.weight"].data_ptr()


REFUSED = [
    ("new.pth", {"notes": {"a": 1}}, "like= writes weights alone"),
    ("new.h5", {}, r"files of the kind '\.h5' are not written"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED)
def test_refused_with_nothing_written(name, arguments, message, pair, tmp_path):
    model, file, plan = pair
    before = sorted(tmp_path.iterdir())
    with pytest.raises(tg.SaveError, match=message):
        tg.save(model, tmp_path / name, like=file, plan=plan, **arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_weights_alone_and_a_plan_alone_are_refused(pair, tmp_path):
    model, file, plan = pair
    with pytest.raises(tg.SaveError, match="like= is for a model"):
        tg.save(model.state_dict(), tmp_path / "new.pth", like=file, plan=plan)
    with pytest.raises(tg.SaveError, match="a plan says how to go back"):
        tg.save(model, tmp_path / "new.pth", plan=plan)


def test_a_container_that_is_not_written_needs_a_name(tmp_path):
    import numpy as np

    model = nn.Linear(4, 2)
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in model.state_dict().items()})
    with pytest.raises(tg.SaveError, match="which is not written"):
        tg.save(model, tmp_path / "out", like=tmp_path / "w.npz")
    tg.save(model, tmp_path / "out.safetensors", like=tmp_path / "w.npz")
    assert set(tg.open(tmp_path / "out.safetensors")) == {"weight", "bias"}


def test_a_models_old_file_stays_when_writing_fails(pair, tmp_path, monkeypatch):
    model, file, plan = pair
    target = tmp_path / "new.pth"
    target.write_text("the old one")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(tg.SaveError, match="the disk is full"):
        tg.save(model, target, like=file, plan=plan)
    assert target.read_text() == "the old one"


@pytest.fixture(autouse=True)
def _heard(caplog):
    caplog.set_level(logging.WARNING)
