"""The oracle is scikit-learn's ridge regression on features standardised by NumPy."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from torchgraft.finetuning.heads.ridge import ridge


def problem(images: int, features: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(images)
    values = rng.normal(size=(images, features)) * np.linspace(0.5, 3, features) + 2
    targets = values[:, :outputs] * 3 - 40 + rng.normal(size=(images, outputs))
    return torch.tensor(values, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("l2", [1e-4, 0.3, 50.0])
@pytest.mark.parametrize(("images", "features"), [(60, 5), (8, 30)])
def test_same_numbers_as_scikit_learn(images, features, l2, bias):
    values, targets = problem(images, features, 2)
    head = ridge(values, targets, bias=bias)(l2)
    x, y = values.double().numpy(), targets.double().numpy()
    variance = x.var(axis=0)
    scale = np.sqrt(variance + 0.1 * variance.mean())
    shift = x.mean(axis=0) if bias else 0.0
    oracle = Ridge(alpha=l2 * images, fit_intercept=bias).fit((x - shift) / scale, y)
    ours = torch.nn.functional.linear(values, head.weight, head.bias)
    expected = oracle.predict((x - shift) / scale)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-3, atol=2e-3)
    assert head.train_loss == pytest.approx(((expected - y) ** 2).mean(), rel=1e-3)
    assert (head.bias is not None) is bias
