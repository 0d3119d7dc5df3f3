"""Tied weights: in the model, in the file, in both; the same values or others; under one name or several."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg

NAMES = ("embed", "inner", "out")


class Words(nn.Module):
    """Three layers of one shape, of which some are one tensor, and a body."""

    def __init__(self, *tied: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = nn.Linear(4, 4)
        self.inner = nn.Linear(4, 7, bias=False)
        self.out = nn.Linear(4, 7, bias=False)
        for name in tied:
            getattr(self, name).weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.body(self.embed(x)))


@pytest.fixture
def state():
    """Values for a `Words`, other ones for each tensor."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return {key: tensor + 1 for key, tensor in Words().state_dict().items()}


def entries(plan):
    return {entry.name.removesuffix(".weight"): entry for entry in plan}


@pytest.mark.parametrize("held", [NAMES[:1], NAMES[1:2], NAMES[2:], NAMES[:2], NAMES[1:], NAMES])
@pytest.mark.parametrize("shared", [True, False], ids=["one storage", "copies"])
def test_tied_in_the_model_and_equal_in_the_file(state, held, shared):
    model = Words("inner", "out")
    weight = state["embed.weight"]
    for name in NAMES:
        del state[f"{name}.weight"]
    state |= {f"{name}.weight": weight if shared else weight.clone() for name in held}
    plan = tg.graft(model, state).plan
    assert model.out.weight is model.embed.weight is model.inner.weight
    assert torch.equal(model.embed.weight, weight)
    assert torch.equal(model.body.weight, state["body.weight"])
    assert {entry.status for entry in plan} == {"loaded"}
    assert {entry.status for entry in plan.sources} == {"used"}
    first = {f"{held[0]}.weight": "goes to embed.weight", "body.weight": "goes to body.weight"}
    assert first.items() <= {entry.name: entry.why for entry in plan.sources}.items()
    for name, entry in entries(plan).items():
        if name in NAMES and name not in held:
            assert entry.why.startswith("tied to ")
            assert entry.source in {f"{n}.weight" for n in held}


@pytest.mark.parametrize(
    ("held", "refused"),
    [
        (("embed", "out"), {"out"}),
        (("embed", "inner"), {"inner"}),
        (("embed", "inner", "out"), {"inner", "out"}),
        (("inner", "out"), {"out"}),
    ],
)
def test_tied_in_the_model_with_other_values_in_the_file_is_refused(state, snapshot, held, refused):
    model = Words("inner", "out")
    before = snapshot(model)
    for name in set(NAMES) - set(held):
        del state[f"{name}.weight"]
    plan = tg.plan(model, state)
    assert {entry.name.removesuffix(".weight") for entry in plan.undeclared} == refused
    for name in refused:
        assert "the checkpoint holds other values for it" in entries(plan)[name].why
        assert {s.name: s.status for s in plan.sources}[f"{name}.weight"] == "unused"
    with pytest.raises(tg.CoverageError, match="other values"):
        plan.apply()
    assert snapshot(model) == before


def test_unless_the_user_says_which_may_go(state):
    model = Words("out")
    assert tg.graft(model, state, allow_fresh="out").plan.counts["fresh"] == 1
    assert torch.equal(model.out.weight, state["embed.weight"])


def test_tied_in_the_file_only(state):
    model = Words()
    state["out.weight"] = state["inner.weight"] = state["embed.weight"]
    tg.graft(model, state)
    for name in NAMES:
        assert torch.equal(getattr(model, name).weight, state["embed.weight"])
    nn.init.zeros_(model.out.weight)
    assert torch.equal(model.embed.weight, state["embed.weight"])


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_tied_in_a_file(state, tmp_path, suffix):
    """A `.pth` keeps the tie and both names; safetensors can't, so one name is left out when it is saved."""
    source = Words("out")
    source.load_state_dict(state)
    path = tmp_path / f"tied.{suffix}"
    if suffix == "pth":
        torch.save(source.state_dict(), path)
    else:
        from safetensors.torch import save_model

        save_model(source, path)
    model = Words("out")
    assert tg.graft(model, path).plan.counts["loaded"] == 5
    assert torch.equal(model.out.weight, source.out.weight)
    assert torch.equal(model.inner.weight, source.inner.weight)


def test_the_tie_is_told_without_reading_where_the_file_says_it(state, tmp_path):
    source = Words("out")
    torch.save(source.state_dict(), tmp_path / "tied.pth")
    refs = {
        key: tg.TensorRef(key, ref.shape, ref.dtype, alias=ref.alias, fetch=lambda _: pytest.fail("was read"))
        for key, ref in tg.open(tmp_path / "tied.pth").items()
    }
    assert tg.plan(Words("out"), tg.Checkpoint(refs)).undeclared == ()


def test_a_first_name_that_does_not_fit_takes_the_later_ones_value(state):
    model = Words("out")
    state["embed.weight"] = state["embed.weight"].to(torch.int8)
    plan = tg.graft(model, state).plan
    assert torch.equal(model.embed.weight, state["out.weight"])
    assert entries(plan)["embed"].why == "tied to out.weight"
    assert {s.name: s.why for s in plan.sources}["embed.weight"].startswith("int8 there")


def test_tied_and_fresh_is_one_decision(state):
    model = Words("out")
    before = model.embed.weight.detach().clone()
    del state["embed.weight"], state["out.weight"]
    with pytest.raises(tg.CoverageError):
        tg.graft(model, state)
    plan = tg.graft(model, state, allow_fresh="embed").plan
    assert (entries(plan)["out"].status, entries(plan)["out"].why) == ("fresh", "tied to embed.weight")
    assert torch.equal(model.out.weight, before)


def test_copies_that_hold_what_is_not_a_number_are_equal(state):
    model = Words("out")
    state["embed.weight"][0, 0] = float("nan")
    state["out.weight"] = state["embed.weight"].clone()
    state.pop("inner.weight", None)
    plan = tg.plan(model, state, allow_fresh="inner")
    assert entries(plan)["out"].status == "loaded"
