"""All or nothing: after any error the model is what it was, bit for bit."""

from __future__ import annotations

import zipfile

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.tensors import TensorRef


def failing_at(state, name, error):
    """A checkpoint whose tensor `name` can't be read."""

    def broken(index):
        raise error

    refs = dict(tg.Checkpoint.from_state_dict(state))
    bad = refs[name]
    refs[name] = TensorRef(name, bad.shape, bad.dtype, fetch=broken)
    return tg.Checkpoint(refs)


@pytest.mark.parametrize("name", ["stem.weight", "norm.running_var", "head.bias"])
@pytest.mark.parametrize("error", [tg.CorruptCheckpointError("cut"), OSError("gone"), MemoryError()])
def test_a_tensor_that_cant_be_read(net, snapshot, name, error):
    model = net()
    before = snapshot(model)
    with pytest.raises(type(error)):
        tg.graft(model, failing_at(net(1).state_dict(), name, error))
    assert snapshot(model) == before


def test_a_file_that_is_corrupt_where_only_reading_shows_it(net, snapshot, tmp_path):
    """A compressed entry: its checksum is known when it is inflated, not when the file is opened."""
    torch.save(net(1).state_dict(), tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
        last = small.getinfo("whole/data/12")
    data = bytearray((tmp_path / "small.pth").read_bytes())
    start = last.header_offset + 30 + len(last.filename)
    assert last.compress_size > 10
    data[start + 5] ^= 0xFF
    (tmp_path / "small.pth").write_bytes(data)
    model = net()
    before = snapshot(model)
    plan = tg.plan(model, tmp_path / "small.pth")
    with pytest.raises(tg.CorruptCheckpointError, match=r"small\.pth: whole/data/12"):
        plan.apply()
    assert snapshot(model) == before


def widen(model):
    model.head = nn.Linear(6, 9)


def add(model):
    model.extra = nn.Linear(2, 2)


def take(model):
    del model.body[2]


def repeat(model):
    model.norm.register_buffer("running_var", torch.ones(1).expand(4))


def infer(model):
    with torch.inference_mode():
        model.head = nn.Linear(6, 5)


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (widen, "head.weight", "it has shape [9, 6], the plan says [5, 6]"),
        (add, "extra.bias", "this tensor is new"),
        (take, "body.2.weight", "it is gone, the plan says [6, 4, 1, 1]"),
        (repeat, "norm.running_var", "is an expanded tensor"),
        (infer, "head.weight", "was made in inference mode"),
    ],
)
def test_a_model_that_has_changed_since(net, snapshot, change, where, what):
    model = net()
    plan = tg.plan(model, net(1))
    change(model)
    before = snapshot(model)
    with pytest.raises(tg.ModelError) as caught:
        plan.apply()
    assert (caught.value.where, what in caught.value.what) == (where, True)
    assert caught.value.hint
    assert snapshot(model) == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s: s.pop("head.bias"), "is not in the checkpoint, the plan says float32 [5]"),
        (
            lambda s: s.update({"head.bias": torch.zeros(9)}),
            "is float32 [9] there, the plan says float32 [5]",
        ),
        (
            lambda s: s.update({"head.bias": torch.zeros(5, dtype=torch.int8)}),
            "is int8 [5] there, the plan says float32 [5]",
        ),
    ],
)
def test_bound_to_another_checkpoint(net, snapshot, change, what):
    model, state = net(), net(1).state_dict()
    plan = tg.plan(model, dict(state))
    change(state)
    before = snapshot(model)
    with pytest.raises(tg.CheckpointError) as caught:
        plan.bind(model, state).apply()
    assert (caught.value.what, caught.value.where) == (what, "head.bias → head.bias")
    assert snapshot(model) == before


def test_a_checkpoint_without_values(net, snapshot):
    model, state = net(), net(1).state_dict()
    state["head.bias"] = state["head.bias"].to("meta")
    before = snapshot(model)
    with pytest.raises(tg.CheckpointError, match="no values") as caught:
        tg.graft(model, state)
    assert caught.value.where == "head.bias"
    assert snapshot(model) == before


def test_a_plan_that_is_not_bound_says_how_to_bind_it(net):
    plan = tg.Plan.from_json(tg.plan(net(), net(1)).to_json())
    with pytest.raises(tg.ModelError, match="not bound") as caught:
        plan.apply()
    assert "plan.bind(model, checkpoint).apply()" in (caught.value.hint or "")


def test_an_op_that_gives_another_shape(net, snapshot):
    """A plan that was edited by hand."""
    model, source = net(channels=4), net(1)
    data = tg.plan(model, source).to_json()
    entry = next(entry for entry in data["targets"] if entry["name"] == "stem.weight")
    entry["ops"] = [{"op": "input-channels", "source": 3, "target": 5, "mode": "repeat"}]
    before = snapshot(model)
    with pytest.raises(tg.AdaptError, match=r"give shape \[4, 5, 3, 3\], the model wants \[4, 4, 3, 3\]"):
        tg.Plan.from_json(data).bind(model, source).apply()
    assert snapshot(model) == before
