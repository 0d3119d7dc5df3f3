"""Several classes an image. Oracles: PyTorch's losses, scikit-learn called another way, loops."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch.nn import functional

import torchgraft as tg
from torchgraft.errors import DataError, TrainingError
from torchgraft.finetuning import MultiLabelEvaluation, evaluate, finetune, predict
from torchgraft.finetuning.evaluations.multi_label_evaluation import measure_labels
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.tasks.multi_label import MultiLabel


def random_outputs(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (count, classes)).astype(np.float32), rng.random((count, classes)) < 0.4


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000), count=st.integers(2, 40), classes=st.integers(1, 6), cut=st.floats(0.1, 0.9)
)
def test_against_scikit_learn(seed, count, classes, cut):
    logits, truth = random_outputs(seed, count, classes)
    found = measure_labels(logits, truth, [f"c{i}" for i in range(classes)], threshold=cut)
    probabilities = torch.from_numpy(logits).double().sigmoid().numpy()
    predicted = probabilities >= cut
    loss = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits).double(), torch.from_numpy(truth).double()
    )
    assert found.loss == pytest.approx(float(loss))
    assert found.exact_match == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found.micro_f1 == pytest.approx(
        metrics.f1_score(truth, predicted, average="micro", zero_division=0.0)
        if classes > 1
        else metrics.f1_score(truth[:, 0], predicted[:, 0], zero_division=0.0)
    )
    for column, score in enumerate(found.per_class):
        of_one = (truth[:, column], predicted[:, column])
        assert score.f1 == pytest.approx(metrics.f1_score(*of_one, zero_division=0.0))
        assert score.precision == pytest.approx(metrics.precision_score(*of_one, zero_division=0.0))
        assert score.recall == pytest.approx(metrics.recall_score(*of_one, zero_division=0.0))
        assert score.support == truth[:, column].sum()
        if score.support:
            expected = average_precision(truth[:, column], probabilities[:, column])
            assert score.average_precision == pytest.approx(expected)
        else:
            assert score.average_precision is None
    known = [score.average_precision for score in found.per_class if score.average_precision is not None]
    assert found.mean_average_precision == (pytest.approx(np.mean(known)) if known else None)


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean, over the images that have the class, of the precision at their rank."""
    order = np.argsort(-scores)
    precisions = [truth[order[: rank + 1]].mean() for rank in range(len(order)) if truth[order[rank]]]
    return float(np.mean(precisions))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_pytorchs(smoothing, weighted):
    outputs, targets = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    weight = torch.tensor([1.0, 2.0, 0.5]) if weighted else None
    found = MultiLabel(3).loss(outputs, targets, label_smoothing=smoothing, weight=weight)
    softened = targets * (1 - smoothing) + smoothing / 2
    p = outputs.sigmoid()
    expected = -(softened * p.log() + (1 - softened) * (1 - p).log()) * (1 if weight is None else weight)
    assert float(found) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_targets():
    task = MultiLabel.of(Images([0], ((0, 2),), ("a", "b", "c"), ("0",)))
    assert task.target((0, 2)).tolist() == [1.0, 0.0, 1.0]
    assert task.target(()).tolist() == [0.0, 0.0, 0.0]


def test_the_loss_of_far_off_scores_is_finite():
    found = measure_labels(np.array([[80.0, -80.0]]), np.array([[False, True]]), ["a", "b"])
    assert found.loss == pytest.approx(80.0)


@pytest.fixture
def labelled(memory):
    """Bright or dark, and each third photo has a green square; some have none of the classes."""
    photos, kinds = memory
    items, labels = [], []
    for index, (photo, kind) in enumerate(zip(photos, kinds, strict=True)):
        square = index % 4 == 0
        changed = photo.copy()
        if square:
            changed[:, :, 1] = 255
        items.append(changed)
        labels.append([*(["bright"] if kind == "bright" else []), *(["green"] if square else [])])
    return items, labels


@pytest.mark.parametrize("recipe", ["linear-probe", "full"])
def test_learning_saving_measuring_and_predicting(tiny, labelled, tmp_path, recipe):
    options = {"epochs": 12, "lr": 5e-2, "augment": False} if recipe == "full" else {"weight_decay": 1e-3}
    result = finetune(tiny(), labelled, recipe=recipe, out=tmp_path / "run", **options)
    scores = result.evaluation
    assert isinstance(scores, MultiLabelEvaluation)
    assert result.classes == ("bright", "green")
    assert scores.mean_average_precision > 0.9
    best = result.history[result.best_epoch - 1]
    assert best.val["mean_average_precision"] == scores.mean_average_precision
    assert best.val_loss == pytest.approx(scores.loss)
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert saved["task"] == "multi-label"
    assert tg.info_of(result.model).task == "multi-label"

    again = evaluate(result.model, labelled)
    assert again.classes == ("bright", "green")
    assert again.count == 64
    guess = predict(result.model, labelled[0][:8], threshold=0.3)
    with torch.no_grad():
        from torchgraft.finetuning.predicting import prepared

        (inputs,) = prepared(result.model, labelled[0][:8])
        expected = result.model(inputs).sigmoid()
    for one, row in zip(guess, expected.tolist(), strict=True):
        assert list(one.every.values()) == pytest.approx(row, rel=1e-5)
        chosen = sorted(((p, n) for n, p in one.every.items() if p >= 0.3), reverse=True)
        assert one.labels == tuple(name for _, name in chosen)
        assert json.loads(json.dumps(one.to_json()))["labels"] == list(one.labels)


def test_a_model_of_one_class_an_image_is_not_measured_by_several(tiny, labelled):
    model = tiny(labels=("bright", "green"))
    found = evaluate(model, labelled)  # by its labels' looks, where the model doesn't say
    assert isinstance(found, MultiLabelEvaluation)
    result = finetune(tiny(), (labelled[0], ["a", "b"] * 32), epochs=1)
    with pytest.raises(DataError):
        evaluate(result.model, labelled)


def test_mistakes_are_named(labelled):
    images = Images([object()] * 2, ((0,), ()), ("a", "b"), ("x", "y"), task="multi-label")
    found = MultiLabel(2).measure(torch.tensor([[9.0, 9.0], [-9.0, -9.0]]), images, ("a", "b"))
    (only,) = found.mistakes
    assert (only.name, only.truth, only.guess) == ("x", "a", "a, b")
    assert str(found).startswith("mAP 1.000, macro F1 ")


def test_outputs_that_are_no_class_scores():
    with pytest.raises(TrainingError, match="not class scores"):
        MultiLabel(2).outputs(torch.zeros(2, 2, 4, 4))
