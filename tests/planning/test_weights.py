"""What weights may be given as, and what models may be: every shape of both that people have."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations

import torchgraft as tg

WAYS = {
    "path": lambda s, p: p / "w.pth",
    "text": lambda s, p: str(p / "w.pth"),
    "safetensors": lambda s, p: p / "w.safetensors",
    "checkpoint": lambda s, p: tg.open(p / "w.pth"),
    "part": lambda s, p: tg.open(p / "run.ckpt", select="model_ema"),
    "state dict": lambda s, p: s.state_dict(),
    "plain dict": lambda s, p: {**s.state_dict(), "epoch": 3, "note": "kept beside"},
    "parameters and buffers": lambda s, p: dict(s.named_parameters()) | dict(s.named_buffers()),
    "module": lambda s, p: s,
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_given_as(net, tmp_path, assert_same_values, way):
    source = net(1)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    torch.save({"model": net(2).state_dict(), "model_ema": source.state_dict()}, tmp_path / "run.ckpt")
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = net()
    plan = tg.graft(model, WAYS[way](source, tmp_path)).plan
    assert_same_values(model, source)
    assert plan.counts["loaded"] == 13


def test_a_plan_names_the_file_and_the_part(net, tmp_path):
    torch.save({"ema": net(1).state_dict(), "epoch": 2}, tmp_path / "run.ckpt")
    torch.save(net(1).state_dict(), tmp_path / "w.pth")
    assert tg.plan(net(), tmp_path / "run.ckpt").checkpoint == f"{tmp_path / 'run.ckpt'} [ema]"
    assert tg.plan(net(), tmp_path / "w.pth").checkpoint == str(tmp_path / "w.pth")
    state = net(1).state_dict()
    del state["head.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(tg.CoverageError) as caught:
        tg.graft(net(), tmp_path / "less.pth")
    assert str(caught.value).startswith(f"Net ← {tmp_path / 'less.pth'}: 1 of the model's 13 tensors")


@pytest.mark.parametrize(
    ("weights", "error", "what"),
    [
        ({}, tg.MatchError, "the checkpoint holds no tensors"),
        ({"epoch": 3}, tg.MatchError, "the checkpoint holds no tensors"),
        (nn.ReLU(), tg.MatchError, "the checkpoint holds no tensors"),
        (nn.Sequential(nn.LazyLinear(3)), tg.CheckpointError, "0.weight: has no shape yet"),
        ({"stem.weight": torch.eye(3).to_sparse()}, tg.CheckpointError, "stem.weight: is a sparse tensor"),
        ({"q.z": torch.rand(3, 1, 7)}, tg.MatchError, r"the checkpoint has 1 tensors \(q.z \[3, 1, 7\]\)"),
    ],
)
def test_what_is_no_weights_is_refused(net, snapshot, weights, error, what):
    model = net()
    before = snapshot(model)
    with pytest.raises(error, match=what) as caught:
        tg.graft(model, weights)
    assert caught.value.hint
    assert snapshot(model) == before


def test_a_lazy_model_is_run_first():
    model, source = nn.Sequential(nn.LazyLinear(4)), nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(tg.ModelError, match="no shape yet") as caught:
        tg.plan(model, source)
    assert caught.value.where == "0.weight"
    assert "run the model once" in (caught.value.hint or "")
    model(torch.rand(1, 3))
    tg.graft(model, source)
    assert torch.equal(model[0].weight, source[0].weight)


class Counting(nn.Linear):
    """Has a state of its own that is no tensor, and one that is."""

    def __init__(self, extra: object) -> None:
        super().__init__(3, 3)
        self.extra = extra

    def get_extra_state(self) -> object:
        return self.extra

    def set_extra_state(self, state: object) -> None:
        raise AssertionError("not weights")


def test_extra_state_is_left_alone():
    model, source = nn.Sequential(Counting({"steps": 1})), nn.Sequential(Counting({"steps": 9}))
    plan = tg.graft(model, source).plan
    assert [entry.name for entry in plan] == ["0.weight", "0.bias"]
    assert (model[0].extra, [entry.name for entry in plan.sources]) == ({"steps": 1}, ["0.weight", "0.bias"])
    assert torch.equal(model[0].weight, source[0].weight)


def test_a_tensor_that_the_model_computes_when_asked_cant_be_written():
    with pytest.raises(tg.ModelError, match="is computed by the model") as caught:
        tg.plan(nn.Sequential(Counting(torch.zeros(2))), nn.Sequential(nn.Linear(3, 3)))
    assert caught.value.where == "0._extra_state"


@pytest.mark.parametrize(
    "parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
def test_a_parametrised_module_from_one_like_it(parametrize):
    model, source = nn.Sequential(parametrize(nn.Linear(4, 4))), nn.Sequential(parametrize(nn.Linear(4, 4)))
    kept = [id(parameter) for parameter in model.parameters()]
    tg.graft(model.eval(), source.eval())
    x = torch.rand(2, 4)
    assert torch.equal(model(x), source(x))
    assert [id(parameter) for parameter in model.parameters()] == kept


def test_a_plain_weight_into_a_parametrised_one():
    """A spectral norm holds the weight under another name: exact names with the rule."""
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    source = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    tg.graft(
        model,
        source,
        rename={"0.weight": "0.parametrizations.weight.original"},
        allow_fresh="0.parametrizations.weight.0",
    )
    assert torch.equal(model[0].parametrizations.weight.original, source[0].weight)


def test_a_model_that_is_one_layer():
    model, source = nn.Linear(3, 2), nn.Linear(3, 4)
    plan = tg.graft(model, source, source_labels=list("abcd"), labels=list("db")).plan
    assert torch.equal(model.weight, source.weight[[3, 1]])
    assert {entry.role for entry in plan} == {"head"}
