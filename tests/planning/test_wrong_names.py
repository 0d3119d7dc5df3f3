"""Names that the user says and the model or checkpoint has not: what the plan says of them, or refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("said", "notes"),
    [
        ("head", ()),
        ("3", ()),
        ("3.weight", ()),
        ("*.bias", ()),
        ("haed", ("'haed'", "did you mean 'head'?")),
        ("3.wieght", ("'3.wieght'", "did you mean '3.weight'?")),
        (["1", "aux.*"], ("'aux.*'",)),
        ("zzzzzz", ("'zzzzzz'",)),
    ],
)
def test_what_is_declared_fresh_and_is_nowhere(said, notes):
    model = net()
    plan = tg.plan(model, model.state_dict(), allow_fresh=said)
    assert len(plan.notes) == bool(notes)
    assert all(words in plan.notes[0] for words in notes)
    assert ("did you mean" in "".join(plan.notes)) is (len(notes) == 2)


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        ("techer=", "the rename rule 'techer' changed no name; the names have 'teacher'"),
        (
            "teacher.bakbone=x",
            "the rename rule 'teacher.bakbone' changed no name; the names have 'teacher.backbone'",
        ),
        ("zzzzzz=", "the rename rule 'zzzzzz' changed no name"),
    ],
)
def test_a_rename_rule_that_meant_another_name(rule, note):
    model = net()
    weights = {f"teacher.backbone.{name}": tensor for name, tensor in model.state_dict().items()}
    assert tg.plan(model, weights, rename=[rule]).notes == (note,)


def test_a_rename_rule_without_effect_is_said_where_nothing_matches():
    weights = {"teacher.x": torch.zeros(7), "teacher.y": torch.zeros(9, 3)}
    with pytest.raises(tg.MatchError) as caught:
        tg.plan(net(), weights, rename={"techer": ""})
    assert str(caught.value.hint).startswith(
        "the rename rule 'techer' changed no name; the names have 'teacher';"
    )


@pytest.mark.parametrize("end", ["stem", "head"])
def test_a_stem_or_head_that_is_nowhere_is_refused_though_nobody_asks(end):
    model = net()
    with pytest.raises(tg.AnatomyError, match=f"no module 'conv1' to be the {end}"):
        tg.plan(model, model.state_dict(), **{end: "conv1"})
    assert not tg.plan(model, model.state_dict(), stem="0", head="3").notes
