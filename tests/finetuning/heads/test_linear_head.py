import pytest
import torch

from torchgraft.finetuning.heads.linear_head import standardised


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_for_standardised_features_is_folded_into_one_for_the_features(bias):
    torch.manual_seed(0)
    features = torch.randn(20, 5) * torch.tensor([1.0, 3.0, 0.1, 1.0, 0.0]) + 2
    standard = standardised(features, bias=bias)
    weight, offset = torch.randn(3, 5), torch.randn(3) if bias else None
    head = standard.head(weight, offset, 0.5)
    expected = torch.nn.functional.linear(standard.features, weight, offset)
    ours = torch.nn.functional.linear(features, head.weight, head.bias)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert head.train_loss == 0.5


def test_what_hardly_varies_is_not_blown_up():
    torch.manual_seed(0)
    features = torch.randn(200, 10)
    features[:, 0] *= 1e-4
    spread = standardised(features, bias=True).features.std(dim=0, correction=0)
    assert spread[0] < 1e-3
    assert spread[1:].tolist() == pytest.approx([1.0] * 9, abs=0.1)


def test_constant_features_only():
    assert torch.isfinite(standardised(torch.full((4, 3), 7.0), bias=True).features).all()
