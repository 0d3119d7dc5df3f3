"""Numbers of an image. Oracles: scikit-learn's measures, PyTorch's loss, the model's own outputs."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import nn

import torchgraft as tg
from torchgraft.errors import TrainingError
from torchgraft.finetuning import RegressionEvaluation, evaluate, finetune, predict
from torchgraft.finetuning.evaluations.regression_evaluation import measure_numbers
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.predicting import prepared
from torchgraft.finetuning.tasks.head_units import HeadUnits, can_fold, fold, in_user_units, unfold
from torchgraft.finetuning.tasks.regression import Regression


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), count=st.integers(2, 40), width=st.integers(1, 4))
def test_against_scikit_learn(seed, count, width):
    rng = np.random.default_rng(seed)
    truth, off = rng.normal(50, 9, (count, width)), rng.normal(1, 3, (count, width))
    found = measure_numbers(truth + off, truth, [str(i) for i in range(width)], std=[2.0] * width)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(truth, truth + off))
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(truth, truth + off))
    assert found.r2 == pytest.approx(metrics.r2_score(truth, truth + off))
    assert found.loss == pytest.approx(metrics.mean_squared_error(truth, truth + off) / 4)
    assert [score.bias for score in found.per_target] == pytest.approx(off.mean(axis=0).tolist())


def test_no_r2_of_a_constant():
    found = measure_numbers(np.array([[1.0], [2.0]]), np.array([[1.0], [1.0]]), ["a"])
    assert found.r2 is None
    assert "r2" not in found.metrics()
    assert str(found) == "MAE 0.5, RMSE 0.7071 on 2 images"


def test_outputs_that_are_no_numbers():
    with pytest.raises(TrainingError, match="not finite"):
        measure_numbers(np.array([[np.nan]]), np.array([[1.0]]), ["a"])


images = Images([0] * 3, ((1000.0, 0.5), (1010.0, 0.5), (1020.0, 0.5)), ("far", "same"), tuple("abc"))


def test_numbers_are_standardised_to_learn_and_given_back_in_their_units():
    task = Regression.of(images)
    targets = torch.stack([task.target(label) for label in images.labels])
    assert torch.allclose(targets, torch.tensor([[-(1.5**0.5), 0.0], [0.0, 0.0], [1.5**0.5, 0.0]]))
    assert torch.allclose(task.outcome(targets, targets), torch.tensor(images.labels, dtype=torch.float64))
    found = task.measure(task.outcome(targets, targets), images, images.classes)
    assert (found.mae, found.loss) == pytest.approx((0, 0), abs=1e-4)
    outputs = torch.randn(3, 2)
    measured = task.measure(task.outcome(outputs, targets), images, images.classes)
    assert measured.loss == pytest.approx(float(task.loss(outputs, targets)), rel=1e-4)


def test_a_weight_for_each_number():
    outputs, targets, weight = torch.randn(5, 2), torch.randn(5, 2), torch.tensor([1.0, 3.0])
    expected = ((outputs - targets) ** 2 * weight).mean()
    assert torch.equal(Regression(("a", "b")).loss(outputs, targets, weight=weight), expected)


class TestHeadUnits:
    units = HeadUnits((10.0, 0.5), (1000.0, -3.0))

    def task(self) -> Regression:
        return Regression(("a", "b"), self.units)

    def model(self, head: nn.Module | None = None) -> nn.Module:
        return nn.Sequential(nn.Flatten(), head or nn.Linear(12, 2))

    def test_a_fold_gives_the_users_units(self):
        model, x = self.model(), torch.randn(4, 3, 2, 2)
        before = model(x)
        fold(self.task(), model, ["1"])
        assert torch.allclose(model(x), self.units.of_user(before), rtol=1e-5)
        unfold(self.task(), model, ["1"])
        assert torch.allclose(model(x), before, atol=1e-3)

    def test_the_weights_in_training_come_back_bit_for_bit(self):
        model = self.model()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with in_user_units(self.task(), model, ["1"]):
            assert not torch.equal(model[1].bias, before["1.bias"])
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    @pytest.mark.parametrize(
        ("model", "heads", "can"),
        [
            (nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), ["1"], True),
            (nn.Sequential(nn.Conv2d(3, 2, 2), nn.Flatten()), ["0"], True),
            (nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False)), ["1"], False),
            (nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Sigmoid()), ["1"], False),
            (nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Linear(2, 2)), ["1", "2"], False),
        ],
    )
    def test_whether_a_head_can_take_it(self, model, heads, can):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        assert can_fold(self.task(), model, heads, torch.randn(2, 3, 2, 2)) is can
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.fixture
def measured(memory):
    """The photos' mean brightness, in thousands, and minus that of their first channel."""
    photos = memory[0]
    return photos, [(5000 + 10 * float(photo.mean()), -float(photo[..., 0].mean())) for photo in photos]


@pytest.mark.parametrize("recipe", ["linear-probe", "full"])
def test_learning_saving_measuring_and_predicting(tiny, measured, tmp_path, recipe):
    model = tiny(classes=7)
    data = tg.ImageData(measured, classes=("light", "red"))
    options = {"epochs": 30, "lr": 3e-2, "freeze_bn": True, "augment": False} if recipe == "full" else {}
    result = finetune(model, data, recipe=recipe, out=tmp_path / "run", **options)
    scores = result.evaluation
    assert isinstance(scores, RegressionEvaluation)
    assert result.classes == ("light", "red")
    assert scores.r2 > 0.9
    assert result.history[result.best_epoch - 1].val_loss == pytest.approx(scores.loss)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["rmse"] == pytest.approx(scores.rmse)

    # what it answers is in the user's units, in memory as on disk
    again = evaluate(model, measured)
    assert (again.classes, again.count) == (("light", "red"), 64)
    assert again.r2 > 0.9
    saved = tg.load(tmp_path / "run" / "model", model=tiny(classes=2))
    assert evaluate(saved, measured).rmse == pytest.approx(again.rmse, rel=1e-4)
    guesses = predict(model, measured[0][:4])
    with torch.no_grad():
        (inputs,) = prepared(model, measured[0][:4])
        expected = model(inputs)
    for guess, row, truth in zip(guesses, expected.tolist(), measured[1], strict=False):
        assert list(guess.values.values()) == pytest.approx(row, rel=1e-5)
        assert guess.values["light"] == pytest.approx(truth[0], rel=0.1)


def test_a_head_that_knows_the_numbers_goes_on(tiny, measured):
    model = tiny(classes=2)
    numbers = [first for first, _ in measured[1]]
    finetune(model, (measured[0], numbers), task="regression")
    first = evaluate(model, (measured[0], numbers))
    result = finetune(model, (measured[0], numbers), recipe="full", epochs=1, lr=1e-12, freeze_bn=True)
    assert result.adapted == ""
    assert evaluate(model, (measured[0], numbers)).rmse == pytest.approx(first.rmse, rel=1e-3)


def test_a_model_that_ends_in_something_else_learns_the_numbers_as_they_are(tiny, measured, caplog):
    class Bounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny(classes=1)

        def forward(self, x):
            return self.inner(x).sigmoid()

    model = Bounded()
    tg.describe(model, preprocessing=tg.info_of(model.inner).preprocessing)
    shares = [(first - 5000) / 2550 for first, _ in measured[1]]
    with caplog.at_level(logging.WARNING):
        result = finetune(
            model, (measured[0], shares), recipe="full", epochs=40, lr=3e-2, augment=False, freeze_bn=True
        )
    assert any("learned as they are" in line for line in caplog.messages)
    assert result.evaluation.r2 > 0.8


@pytest.mark.parametrize("stage", ["training", "epoch"])
def test_after_an_interruption_the_model_still_answers_in_the_users_units(tiny, measured, stage):
    model = tiny(classes=1)
    numbers = [first for first, _ in measured[1]]

    def stop(event):
        if event.stage == stage and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(
            model, (measured[0], numbers), recipe="full", epochs=9, lr=1e-2, on_event=stop, task="regression"
        )
    values = [guess.values["value"] for guess in predict(model, measured[0])]
    assert 5000 < np.mean(values) < 7600
