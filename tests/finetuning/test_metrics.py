"""The oracle is scikit-learn, called another way, and cases counted by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from torchgraft.errors import TrainingError
from torchgraft.finetuning.metrics import measure


def random_scores(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    return scores, truth


@given(seed=st.integers(0, 1000), count=st.integers(12, 60), classes=st.integers(2, 6))
def test_against_scikit_learn(seed, count, classes):
    scores, truth = random_scores(seed, count, classes)
    names = [f"c{i}" for i in range(classes)]
    found = measure(scores, truth, names)
    predicted = scores.argmax(1)
    report = metrics.classification_report(
        truth, predicted, target_names=names, output_dict=True, zero_division=0.0
    )
    assert found.accuracy == pytest.approx(report["accuracy"])
    assert found.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert found.log_loss == pytest.approx(-np.log(scores[np.arange(count), truth]).mean(), rel=1e-4)
    assert np.array_equal(found.confusion, metrics.confusion_matrix(truth, predicted))
    for score in found.per_class:
        expected = report[score.name]
        assert (score.precision, score.recall) == pytest.approx((expected["precision"], expected["recall"]))
    if classes == 2:
        assert found.roc_auc == pytest.approx(metrics.roc_auc_score(truth, scores[:, 1]))
    else:
        assert found.roc_auc is None


def test_classes_that_do_not_occur_are_left_out():
    scores = np.eye(5, dtype=np.float32)[[1, 1, 3]]
    found = measure(scores, np.array([1, 1, 1]), list("abcde"))
    assert found.classes == ("b", "d")
    assert found.confusion == ((2, 1), (0, 0))
    assert found.accuracy == found.balanced_accuracy == pytest.approx(2 / 3)
    assert [score.support for score in found.per_class] == [3, 0]


def test_no_area_under_the_curve_of_one_class():
    assert measure(np.full((3, 2), 0.5), np.zeros(3, int), ["a", "b"]).roc_auc is None


def test_json_is_plain_data_without_undefined_numbers():
    scores, truth = random_scores(0, 12, 3)
    data = json.loads(json.dumps(measure(scores, truth, list("abc"), skipped=("x.png",)).to_json()))
    assert data["skipped"] == ["x.png"]
    assert data["classes"] == ["a", "b", "c"]
    assert set(data) == {
        *("count", "accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
        *("classes", "per_class", "confusion", "skipped"),
    }


def test_summary():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])
    assert str(measure(scores, np.array([0, 1, 1, 1]), ["a", "b"])) == (
        "accuracy 75.0%, balanced 83.3%, macro F1 0.733, ROC AUC 1.000, log loss 0.439 on 4 images"
    )


def test_outputs_that_are_no_numbers():
    with pytest.raises(TrainingError, match="not finite"):
        measure(np.full((2, 2), np.nan), np.array([0, 1]), ["a", "b"])
