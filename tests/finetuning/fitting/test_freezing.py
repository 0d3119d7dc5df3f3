import pytest
import torch
from torch import nn

from torchgraft.finetuning.fitting.freezing import frozen_batch_norms, modes, only_trained
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.group_table import group_rows


def build() -> nn.Module:
    low = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    high = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    return nn.Sequential(low, high, nn.Dropout(), nn.Linear(4, 2))


def training(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def test_what_learns_is_in_training_mode_and_its_dropout_with_it():
    model = build().train()
    set_modes = modes(model, [*model[1].parameters(), *model[3].parameters()])
    set_modes(model)
    off = {name for name, on in training(model).items() if not on}
    assert off == {"0", "0.0", "0.1", "0.2"}
    modes(model, [*model.parameters()], frozen=[model[1][1]])(model)
    assert {name for name, on in training(model).items() if not on} == {"1.1"}
    modes(model, [])(model)
    assert not any(training(model).values())


def test_the_modes_are_known_before_the_parameters_become_others():
    """As when a model is sharded."""
    model = build()
    set_modes = modes(model, model[3].parameters())
    model[3].weight = nn.Parameter(torch.zeros(2, 4))
    set_modes(model)
    assert model[3].training


def test_flags_come_back_also_after_an_error():
    model = build()
    model[0].requires_grad_(False)
    before = [parameter.requires_grad for parameter in model.parameters()]

    def fail() -> None:
        with only_trained(model, [model[3].weight]):
            assert [n for n, p in model.named_parameters() if p.requires_grad] == ["3.weight"]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [parameter.requires_grad for parameter in model.parameters()] == before


@pytest.mark.parametrize(("freeze", "count"), [(None, 1), (True, 2), (False, 0)])
def test_which_batch_norms_stay(freeze, count):
    model = build()
    nn.init.constant_(model[1][1].running_var, 2.0)
    assert len(frozen_batch_norms(model, freeze)) == count


def test_a_row_for_each_group_and_one_for_the_rest():
    model = build()
    groups = [Group("low", list(model[0].parameters()), 0.1, 0.0), Group("head", [model[3].bias], 1.0, 0.2)]
    rows = group_rows(model, groups, phase="first")
    assert [(r.phase, r.name, r.tensors, r.parameters, r.lr, r.weight_decay, r.frozen) for r in rows] == [
        ("first", "low", 4, 24, 0.1, 0.0, False),
        ("first", "head", 1, 2, 1.0, 0.2, False),
        ("first", "frozen", 5, 36, None, None, True),
    ]
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
