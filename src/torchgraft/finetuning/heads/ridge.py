"""Ridge regression of the features, solved once for every strength of the penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch

from torchgraft.finetuning.heads.linear_head import Head, standardised

__all__ = ["ridge"]


def ridge(features: torch.Tensor, targets: torch.Tensor, *, bias: bool) -> Callable[[float], Head]:
    """The head that minimises ½ · mean ‖output − target‖² + l2/2 · ‖standardised weight‖², for any l2 > 0.

    One decomposition, in float64, serves all strengths: Hastie, Tibshirani, Friedman, "The Elements of
    Statistical Learning", 3.4.1. The bias is not penalised.

    Args:
        features: (images, features), float32.
        targets: (images, outputs), float32.
        bias: Whether the head has one.

    Returns:
        The head of an l2; its `train_loss` is the mean squared error.
    """
    standard = standardised(features, bias=bias)
    wanted = targets.double()
    middle = wanted.mean(dim=0) if bias else torch.zeros(wanted.shape[1], dtype=torch.float64)
    left, sizes, right = torch.linalg.svd(standard.features.double(), full_matrices=False)
    turned = left.T @ (wanted - middle)

    def head(l2: float) -> Head:
        shrunk = sizes / (sizes.square() + len(features) * l2)
        weight = (right.T @ (shrunk[:, None] * turned)).T
        outputs = standard.features.double() @ weight.T + middle
        error = float((outputs - wanted).square().mean())
        return standard.head(weight.float(), middle.float() if bias else None, error)

    return head
