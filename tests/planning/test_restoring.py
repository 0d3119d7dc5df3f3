"""What `restore` makes of a model that has been trained, or does not hold all that the checkpoint does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import torchgraft as tg
from round_trips import D, Fused, Pair, Split, State, Words, net, source, unlike
from torchgraft.matching import Part


def script(plan: tg.Plan) -> Callable[[State], State]:
    namespace: dict[str, Any] = {}
    exec(plan.python(), namespace)
    return namespace["convert"]


def test_a_trained_model_is_restored_with_what_it_learned():
    """The way back of a change of `qkv` is the change of `query`, and only of that."""
    model, state = Fused(), source(Split())
    plan = tg.plan(model, state)
    plan.apply()
    with torch.no_grad():
        model.blocks[1].qkv.weight[D : 2 * D] += 1
    restored = plan.restore(model)
    assert torch.equal(restored["layer.1.key.weight"], state["layer.1.key.weight"] + 1)
    assert unlike({k: v for k, v in restored.items() if k != "layer.1.key.weight"}, state) == []


def test_the_restored_weights_run_in_the_source(tmp_path):
    """Trained in our model, saved in their names, loaded by their class: the same outputs."""
    theirs, ours = Split(), Fused()
    plan = tg.plan(ours, theirs)
    plan.apply()
    x = torch.rand(1, 5, D)
    optimizer = torch.optim.SGD(ours.parameters(), 0.1)
    ours(x).square().sum().backward()
    optimizer.step()
    path = tg.save(plan.restore(ours), tmp_path / "theirs.safetensors")
    back = Split()
    back.load_state_dict(dict(tg.open(path).state_dict()))
    assert torch.allclose(back(x), ours(x), atol=1e-5)
    assert not torch.allclose(theirs(x), ours(x), atol=1e-3)


def test_copies_that_were_trained_apart_are_refused_by_name():
    model, state = Pair(net), source(net())
    plan = tg.plan(model, state)
    plan.apply()
    with torch.no_grad():
        model.right.stem.weight[0] = 0
    with pytest.raises(
        tg.ModelError, match=r"left\.stem\.weight and right\.stem\.weight hold different"
    ) as caught:
        plan.restore(model)
    assert caught.value.where == "stem.weight"
    left = {key: value for key, value in model.state_dict().items() if not key.startswith("right.")}
    assert unlike(plan.restore(left), state) == []  # as the hint says


def test_what_the_model_does_not_hold_is_left_out_without_a_base():
    model, state = net(classes=3), source(net()) | {"queue": torch.rand(3)}
    plan = tg.plan(model, state)
    plan.apply()
    restored = tg.Plan.from_json(plan.to_json()).restore(model)
    assert set(state) - set(restored) == {"queue", "head.weight", "head.bias"}
    assert any(
        note.startswith("left out: head.weight, head.bias (3 classes here, 5") for note in restored.notes
    )
    assert any(note.startswith("left out: queue (") for note in restored.notes)
    assert any(note.startswith("of the model alone: head.weight, head.bias") for note in restored.notes)
    whole = plan.restore(model)
    assert unlike(whole, state) == []
    assert any(note.startswith("the checkpoint's own: head.weight, head.bias (") for note in whole.notes)


def test_rows_of_classes_go_back_to_their_places():
    model, state = net(classes=3), source(net())
    plan = tg.plan(model, state, source_labels=list("abcde"), labels=list("dbx"))
    plan.apply()
    with torch.no_grad():
        model.head.bias += 1
    restored = plan.restore(model)
    expected = state["head.bias"] + torch.tensor([0, 1, 0, 1, 0])
    assert torch.equal(restored["head.bias"], expected)
    assert any("head.bias (3 of 5 elements" in note for note in restored.notes)
    assert any(
        "head.bias: 1 of its rows are of classes that the checkpoint does not have" in n
        for n in restored.notes
    )
    assert "head.bias" not in tg.Plan.from_json(plan.to_json()).restore(model)
    assert "so not here: head.weight, head.bias." in plan.python()
    assert "head.bias" not in script(plan)(state)


def test_a_stem_that_was_trained_is_left_out_and_said_so():
    model, state = net(channels=4), source(net())
    plan = tg.plan(model, state)
    plan.apply()
    with torch.no_grad():
        model.stem.weight[:, 3] += 1
    restored = plan.restore(model)
    assert set(state) - set(restored) == {"stem.weight"}
    assert any("left out: stem.weight (" in note and "trained since" in note for note in restored.notes)


def test_what_half_precision_lost_is_noted():
    model, state = net().half(), source(net())
    plan = tg.plan(model, state)
    plan.apply()
    with torch.no_grad():
        model.head.bias.add_(1)
    restored = plan.restore(model)
    assert restored["head.bias"].dtype == torch.float32
    assert torch.equal(restored["head.bias"], model.head.bias.float())
    assert unlike({k: v for k, v in restored.items() if k != "head.bias"}, state) == []
    assert restored.notes == (
        "as exact as float16 only, which the model holds where the checkpoint has float32: head.bias",
    )


@pytest.fixture
def keyless() -> tuple[Fused, State, tg.Plan]:
    """A plan for weights that have no bias for the keys, as BEiT's and Whisper's: zeros stand for it."""
    model, state = Fused(), source(Split())
    whole = tg.plan(model, state)
    state = {key: value for key, value in state.items() if not key.endswith("key.bias")}
    absent = Part(None, (), (), (D,))
    plan = replace(
        whole,
        targets=tuple(
            replace(e, joined=(e.joined[0], absent, e.joined[2])) if e.name.endswith("qkv.bias") else e
            for e in whole
        ),
        sources=tuple(entry for entry in whole.sources if entry.name in state),
    ).bind(model, state)
    plan.apply()
    assert not model.blocks[0].qkv.bias[D : 2 * D].any()
    return model, state, plan


def test_a_key_bias_that_the_source_has_not_is_noted_when_it_was_trained(keyless):
    model, state, plan = keyless
    assert tg.Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    restored = plan.restore(model)
    assert (unlike(restored, state), restored.notes) == ([], ())
    with torch.no_grad():
        model.blocks[0].qkv.bias[D] = 1
    (note,) = plan.restore(model).notes
    assert note.startswith(f"blocks.0.qkv.bias: {D} of its elements have no place in the checkpoint")


def test_a_key_bias_that_the_source_has_not_is_zeros_in_the_script(keyless):
    model, state, plan = keyless
    assert unlike(script(plan)(state), model.state_dict()) == []


def test_tied_names_of_the_file_stay_tied():
    """The file holds one tensor under two names, the model has one of them: both follow it."""
    state = source(Words())
    state["out.weight"] = state["embed.weight"]
    model = nn.ModuleDict({"embed": nn.Embedding(7, 4), "body": nn.Linear(4, 4)})
    plan = tg.plan(model, state)
    plan.apply()
    with torch.no_grad():
        model["embed"].weight += 1
    restored = plan.restore(model)
    assert torch.equal(restored["out.weight"], restored["embed.weight"])
    assert unlike({"out.weight": model["embed"].weight.detach()}, dict(restored)) == []


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        (lambda s: s.pop("stem.weight"), tg.ModelError, "is not among the weights"),
        (lambda s: s.update({"stem.weight": torch.rand(4, 3, 5, 5)}), tg.ModelError, "has shape"),
        (
            lambda s: s.update({"stem.weight": torch.rand(4, 3, 3, 3, device="meta")}),
            tg.ModelError,
            "meta device",
        ),
    ],
)
def test_other_weights_are_refused(change, error, what):
    model = net()
    plan = tg.plan(model, source(net()))
    state = plan.apply().model.state_dict()
    change(state)
    with pytest.raises(error, match=what) as caught:
        plan.restore(state)
    assert caught.value.where == "stem.weight"


def test_another_checkpoint_is_refused_as_base():
    model = net()
    plan = tg.plan(model, source(net()))
    with pytest.raises(tg.CheckpointError, match="given as base") as caught:
        plan.restore(plan.apply().model, base=source(net(classes=7)))
    assert caught.value.where == "head.weight"


def test_the_restored_tensors_are_memory_of_their_own():
    model, state = net(), source(net())
    plan = tg.plan(model, state)
    restored = plan.restore(plan.apply().model)
    for value in restored.values():
        value.zero_()
    assert torch.equal(model.stem.weight, state["stem.weight"]) or model.stem.weight.isnan().any()
    assert model.head.weight.any()
