import json
import math

import pytest
import torch

import torchgraft as tg
from torchgraft.errors import TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.fitting.lr_sweep import smoothed


def test_the_model_stays_bit_for_bit_and_the_rates_grow_by_one_factor(tiny, memory):
    model = tiny(classes=5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    random = torch.random.get_rng_state()
    curve = tg.find_lr(model, memory, steps=50, lowest=1e-5, highest=10.0, batch_size=16, head_lr=1.0)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert flags == [(p.requires_grad, p.grad) for p in model.parameters()]
    assert torch.equal(random, torch.random.get_rng_state())
    assert not model.training

    factor = (10.0 / 1e-5) ** (1 / 49)
    ratios = [after / lr for lr, after in zip(curve.lrs, curve.lrs[1:], strict=False)]
    assert ratios == pytest.approx([factor] * len(ratios))
    assert curve.lrs[0] == 1e-5
    assert len(curve.lrs) == len(curve.losses) == len(curve.smoothed) <= 50
    assert 10 * curve.suggestion in [pytest.approx(lr) for lr in curve.lrs]
    assert json.loads(json.dumps(curve.to_json()))["suggestion"] == curve.suggestion


def test_it_trains_well_with_what_was_found(tiny, memory):
    curve = tg.find_lr(tiny(), memory, steps=60, batch_size=16, head_lr=1.0)
    assert curve.smoothed[-1] != curve.smoothed[0]
    result = finetune(tiny(), memory, recipe="full", epochs=8, lr=curve.suggestion, head_lr=1.0)
    slow = finetune(tiny(), memory, recipe="full", epochs=8, lr=1e-5, head_lr=1.0)
    assert result.history[-1].train_loss < slow.history[-1].train_loss


def test_the_first_loss_is_that_of_the_untrained_model(tiny, memory):
    """The oracle: the model's own loss on the first batch."""
    model = tiny()
    curve = tg.find_lr(model, memory, steps=3, augment=False, batch_size=52, val=0.2)
    epoch = finetune(tiny(), memory, recipe="full", epochs=1, lr=1e-12, augment=False, batch_size=52)
    assert curve.losses[0] == pytest.approx(epoch.history[0].train_loss, rel=1e-5)


def test_it_ends_where_the_loss_runs_away(tiny, memory):
    curve = tg.find_lr(tiny(), memory, steps=100, highest=1e6, optimizer="sgd", clip=None, batch_size=16)
    assert len(curve.lrs) < 100
    assert all(math.isfinite(loss) for loss in curve.losses)


@pytest.mark.parametrize("recipe", ["layerwise", "lora-less", "lp-ft"])
def test_recipes(tiny, memory, recipe):
    if recipe == "lora-less":
        with pytest.raises(TrainingError, match="no recipe 'lora-less'"):
            tg.find_lr(tiny(), memory, recipe=recipe)
        return
    assert tg.find_lr(tiny(), memory, recipe=recipe, steps=4).suggestion > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "linear-probe"}, "does not train this model by gradient"),
        ({"lowest": 1.0, "highest": 0.1}, "lowest=1.0"),
        ({"steps": 1}, "steps=1"),
        ({"magic": 3}, "no option 'magic'"),
    ],
)
def test_what_makes_no_sense(tiny, memory, arguments, message):
    with pytest.raises(TrainingError, match=message):
        tg.find_lr(tiny(), memory, **arguments)


def test_smoothing_has_no_bias_towards_its_start():
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    line = smoothed([1.0, 3.0])
    assert line == pytest.approx([1.0, (0.09 * 1 + 0.1 * 3) / 0.19])
