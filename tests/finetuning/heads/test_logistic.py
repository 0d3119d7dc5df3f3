"""The oracle is scikit-learn's logistic regression on features standardised by NumPy."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from torchgraft.finetuning.heads.logistic import fit_logistic


def problem(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of different scale and place, classes that overlap."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 200)
    features = rng.normal(size=(200, 6)) + 1.5 * np.eye(classes, 6)[labels]
    features = features * [1, 10, 0.1, 5, 1, 1] + [0, 50, 3, 0, -4, 0]
    return torch.tensor(features, dtype=torch.float32), torch.tensor(labels)


def scaled(features: np.ndarray) -> np.ndarray:
    """Less their mean, over the root of their variance and a tenth of all features' mean variance."""
    variance = features.var(axis=0)
    return (features - features.mean(axis=0)) / np.sqrt(variance + 0.1 * variance.mean())


def fitted(features, labels, classes, **changes):
    settings = {"bias": True, "l2": 0.05, "lr": 1.0, "rounds": 50, "iterations": 5} | changes
    return list(fit_logistic(features, labels, classes, **settings))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_same_probabilities_as_scikit_learn(classes):
    features, labels = problem(classes)
    head = fitted(features, labels, classes)[-1]
    standard = scaled(features.double().numpy())
    # Of two classes scikit-learn fits one vector w, we ±w/2, whose squares sum to half of it.
    l2 = 0.05 / 2 if classes == 2 else 0.05
    oracle = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-8, max_iter=1000).fit(
        standard, labels.numpy()
    )
    ours = torch.nn.functional.linear(features, head.weight, head.bias).softmax(1)
    np.testing.assert_allclose(ours.numpy(), oracle.predict_proba(standard), atol=2e-3)


def test_the_loss_falls_and_fitting_ends_by_itself():
    features, labels = problem(3)
    losses = [head.train_loss for head in fitted(features, labels, 3, rounds=500, iterations=2)]
    assert losses[-1] < losses[0]
    assert len(losses) < 500


def test_a_head_without_bias():
    features, labels = problem(2)
    head = fitted(features, labels, 2, bias=False)[-1]
    assert head.bias is None
    scores = torch.nn.functional.linear(features, head.weight)
    loss = torch.nn.functional.cross_entropy(scores, labels)
    assert float(loss) == pytest.approx(head.train_loss, rel=1e-3)


def test_a_constant_feature_does_no_harm():
    features, labels = problem(2)
    features[:, 0] = 7.0
    head = fitted(features, labels, 2)[-1]
    assert torch.isfinite(head.weight).all()
    assert head.train_loss < 0.69


def test_several_labels_are_one_regression_each():
    """With the penalty of the loss's mean over the labels: that of each alone, divided by their number."""
    features, labels = problem(3)
    truth = torch.stack([labels == 0, labels != 2, features[:, 0] > 0], dim=1).float()
    head = fitted(features, truth, 3, l2=0.05 / 3, loss=torch.nn.functional.binary_cross_entropy_with_logits)[
        -1
    ]
    standard = scaled(features.double().numpy())
    ours = torch.nn.functional.linear(features, head.weight, head.bias).sigmoid().numpy()
    for column in range(3):
        oracle = LogisticRegression(C=1 / (0.05 * len(labels)), tol=1e-8, max_iter=1000)
        oracle.fit(standard, truth[:, column].numpy())
        np.testing.assert_allclose(ours[:, column], oracle.predict_proba(standard)[:, 1], atol=4e-3)
