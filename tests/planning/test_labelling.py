"""Which class is which: from the user, from the checkpoint itself, from the model."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.planning.labelling import labels_of

NAMES = ["cat", "dog", "wolf", "emu"]


def net(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, classes))


def entry(plan, name="2.weight"):
    return next(entry for entry in plan if entry.name == name)


def training_checkpoint(path, **further):
    source = net(4)
    torch.save({"model": source.state_dict(), "epoch": 3, **further}, path)
    return source


@pytest.mark.parametrize(
    "said",
    [
        {"classes": NAMES},
        {"class_to_idx": {name: row for row, name in enumerate(NAMES)}},
        {"hyper_parameters": {"class_names": NAMES}},
        {"names": dict(enumerate(NAMES))},
    ],
    ids=lambda said: next(iter(said)),
)
def test_names_that_a_training_checkpoint_says(said, tmp_path):
    source = training_checkpoint(tmp_path / "run.pth", **said)
    model = net(2)
    plan = tg.graft(model, tmp_path / "run.pth", labels=["emu", "cat"]).plan
    assert torch.equal(model[2].weight, source[2].weight[[3, 0]])
    assert entry(plan).why.startswith("rows 4→2 by class, 2 carried")


def test_names_that_torchgraft_saved(tmp_path):
    source = tg.describe(net(4), labels=NAMES)
    tg.save(source, tmp_path / "mine")
    model = net(1)
    tg.graft(model, tmp_path / "mine" / "model.safetensors", labels=["wolf"])
    assert torch.equal(model[2].weight, source[2].weight[2:3])


def test_names_in_a_config_beside(tmp_path):
    source = training_checkpoint(tmp_path / "model.pth")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {str(i): n for i, n in enumerate(NAMES)}}))
    model = net(1)
    tg.graft(model, tmp_path / "model.pth", labels=["dog"])
    assert torch.equal(model[2].weight, source[2].weight[1:2])
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {str(i): f"LABEL_{i}" for i in range(4)}}))
    assert labels_of(tg.open(tmp_path / "model.pth")) is None
    (tmp_path / "config.json").write_text("{")
    assert labels_of(tg.open(tmp_path / "model.pth")) is None


def test_names_that_dont_fit_the_head_are_not_used(tmp_path):
    training_checkpoint(tmp_path / "run.pth", classes=["a", "b"])
    plan = tg.plan(net(2), tmp_path / "run.pth", labels=["a", "c"])
    assert any("names 2 classes, its head has 4" in note for note in plan.notes)
    assert not any(note == "a" for note in plan.notes)


def test_labels_that_can_do_nothing_are_not_silent():
    plan = tg.plan(net(2), net(4), labels=["cat", "dog"])
    assert any("give them, source_labels=" in note for note in plan.notes)
    assert entry(plan).status == "fresh"
    plan = tg.plan(net(2), net(4), source_labels=NAMES)
    assert any("give labels=" in note for note in plan.notes)
    assert tg.plan(net(4), net(4)).notes == ()


def test_the_models_own_names():
    model, source = tg.describe(net(2), labels=["wolf", "emu"]), net(4)
    tg.graft(model, source, source_labels=NAMES)
    assert torch.equal(model[2].weight, source[2].weight[2:])


def test_a_class_map():
    model, source = net(3), net(4)
    said = {"canine": ["dog", 2], "emu": 3, "new": None}
    plan = tg.plan(model, source, source_labels=NAMES, class_map=said, modes={"rows": "mean"})
    plan.apply()
    weight, bias = source[2].weight, source[2].bias
    torch.testing.assert_close(model[2].weight[:2], torch.stack([weight[1:3].mean(0), weight[3]]))
    torch.testing.assert_close(model[2].bias[0], bias[1:3].mean() + math.log(2))
    again = tg.Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.targets == plan.targets
    assert "never more" in entry(plan).effect


def test_by_index_needs_no_names():
    model, source = net(4), net(4)
    tg.graft(model, source, class_map=[3, 2, 1, 0])
    assert torch.equal(model[2].weight, source[2].weight.flip(0))


def test_a_background():
    model, source = net(5), net(4)
    before = model[2].bias[0].detach().clone()
    tg.graft(model, source, class_map="with-background")
    assert torch.equal(model[2].bias[1:], source[2].bias)
    assert torch.equal(model[2].bias[0], before)
    back = net(4)
    tg.graft(back, model, class_map="without-background")
    assert torch.equal(back[2].weight, source[2].weight)


def test_a_mode_set_afterwards():
    model, source = net(3), net(4)
    plan = tg.plan(model, source, class_map=[[0, 1], 2, None])
    plan.set("2.weight", mode="zeros").set("2.bias", mode="average").set("2.bias", mode="mean")
    plan.apply()
    assert not model[2].weight[2].any()
    torch.testing.assert_close(model[2].bias[0], source[2].bias[:2].mean())
    with pytest.raises(tg.AdaptError, match="no mode 'median'"):
        plan.set("2.weight", mode="median")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("mode", ["mean", "mean-cov", "zeros"])
@pytest.mark.parametrize("unit", [False, True])
def test_as_a_script(dtype, mode, unit):
    source = net(6).to(dtype)
    if unit:
        with torch.no_grad():
            source[2].weight.copy_(nn.functional.normalize(source[2].weight.float(), dim=1))
    model = net(4).to(dtype)
    plan = tg.plan(model, source, class_map=[[0, 1, 5], None, 2, None], modes={"rows": mode})
    plan.apply()
    script: dict[str, object] = {}
    exec(plan.python(), script)  # it is what is tested
    made = script["convert"](source.state_dict())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(
            made[name], tensor, rtol=2e-3 if dtype == torch.float16 else 1e-6, atol=1e-6
        )


def test_restored_but_for_what_was_merged():
    model, source = net(3), net(4)
    plan = tg.plan(model, source, class_map=[2, 0, None], modes={"rows": "mean"})
    plan.apply()
    back = plan.restore(model)
    assert torch.equal(back["2.weight"], source[2].weight)
    merged = tg.plan(net(1), source, class_map=[[0, 1]])
    merged.apply()
    restored = merged.restore(merged.binding.model)
    assert "2.weight" not in restored or torch.equal(restored["2.weight"], source[2].weight)
    assert any("can't be undone" in note for note in restored.notes)
