"""The oracle is scikit-learn, called another way, and cases counted by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from torchgraft.errors import TrainingError
from torchgraft.finetuning.evaluations import Mistake
from torchgraft.finetuning.evaluations.class_evaluation import measure_classes as measure
from torchgraft.finetuning.images.image_set import Images


def random_scores(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    return scores, truth


@settings(deadline=None, max_examples=40)
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
        *("task", "count", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece"),
        *("classes", "per_class", "confusion", "calibration", "mistakes", "groups", "skipped"),
    }


def test_summary():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])
    assert str(measure(scores, np.array([0, 1, 1, 1]), ["a", "b"])) == (
        "accuracy 75.0%, balanced 83.3%, macro F1 0.733, ROC AUC 1.000, log loss 0.439 on 4 images"
    )


def test_outputs_that_are_no_numbers():
    with pytest.raises(TrainingError, match="not finite"):
        measure(np.full((2, 2), np.nan), np.array([0, 1]), ["a", "b"])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), count=st.integers(12, 60), classes=st.integers(3, 8), k=st.integers(2, 5))
def test_top_k_and_brier_against_scikit_learn(seed, count, classes, k):
    scores, truth = random_scores(seed, count, classes)
    found = measure(scores, truth, [str(i) for i in range(classes)], top=(1, k, 999))
    if k < classes:
        expected = metrics.top_k_accuracy_score(truth, scores, k=k, labels=range(classes))
        assert found.top == {k: pytest.approx(expected)}
        assert found.metrics()[f"top{k}_accuracy"] == found.top[k]
    else:
        assert found.top == {}
    onehot = np.eye(classes)[truth]
    assert found.brier == pytest.approx(np.square(scores - onehot).sum(1).mean(), rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), count=st.integers(12, 200), classes=st.integers(2, 6))
def test_calibration_against_a_loop(seed, count, classes):
    scores, truth = random_scores(seed, count, classes)
    found = measure(scores, truth, [str(i) for i in range(classes)]).calibration
    sure = scores.astype(np.float64) / scores.sum(1, keepdims=True, dtype=np.float64)
    total, worst_gap = 0.0, 0.0
    assert len(found.bins) == 15
    for index, entry in enumerate(found.bins):
        inside = [i for i in range(count) if index / 15 < sure[i].max() <= (index + 1) / 15]
        assert entry.count == len(inside)
        if not inside:
            assert (entry.confidence, entry.accuracy) == (None, None)
            continue
        confidence = np.mean([sure[i].max() for i in inside])
        accuracy = np.mean([sure[i].argmax() == truth[i] for i in inside])
        assert (entry.confidence, entry.accuracy) == pytest.approx((confidence, accuracy))
        gap = abs(confidence - accuracy)
        total, worst_gap = total + gap * len(inside) / count, max(worst_gap, gap)
    assert found.ece == pytest.approx(total)
    assert found.max_error == pytest.approx(worst_gap)


def test_a_model_that_is_sure_and_right_is_calibrated():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    found = measure(scores, np.array([0, 1, 2, 2]), list("abc"))
    assert (found.calibration.ece, found.brier) == (0.0, 0.0)
    assert [entry.count for entry in found.calibration.bins] == [0] * 14 + [4]


def test_mistakes_are_the_wrong_answers_the_worst_first(tmp_path):
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    images = Images([tmp_path / "a.png", "b", np.zeros(1), object()], (1, 1, 0, 1), ("x", "y"), tuple("abcd"))
    found = measure(scores, np.array([1, 1, 0, 1]), ["x", "y"], images=images).mistakes
    assert [one.name for one in found] == ["a", "d", "c"]
    assert found[0] == Mistake(0, "a", str(tmp_path / "a.png"), "y", "x", 0.9, pytest.approx(-np.log(0.1)))
    assert found[1].path is None


def test_no_more_than_24_mistakes():
    scores = np.tile([0.9, 0.1], (40, 1))
    images = Images([object()] * 40, (1,) * 40, ("x", "y"), tuple(map(str, range(40))))
    found = measure(scores, np.ones(40, int), ["x", "y"], images=images).mistakes
    assert [one.index for one in found] == list(range(24))
