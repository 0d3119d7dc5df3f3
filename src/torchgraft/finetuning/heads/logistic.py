"""Logistic regression of the features: convex, so that a full-batch L-BFGS ends at the one best head."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional

from torchgraft.finetuning.heads.linear_head import Head, Standard, standardised

__all__ = ["fit_logistic"]


def fit_logistic(
    features: torch.Tensor,
    targets: torch.Tensor,
    outputs: int,
    *,
    bias: bool,
    l2: float,
    lr: float,
    rounds: int,
    iterations: int,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = functional.cross_entropy,
    standard: Standard | None = None,
) -> Iterator[Head]:
    """Fit, and give the head after each round; ends early when it no longer gets better.

    Features are standardised meanwhile, so that one `l2` suits them all; the heads that are given
    are for the features as they came.

    Minimises the loss + l2/2 · ‖standardised weight‖², starting from zero.

    Args:
        features: (images, features), float32.
        targets: What `loss` compares scores (images, outputs) with: classes, (images,) of int64, by default.
        outputs: Number of classes.
        bias: Whether the head has one.
        l2: Strength of the penalty.
        lr: First step of the line search.
        rounds: How many heads to give at most.
        iterations: Steps of L-BFGS in a round.
        loss: A mean over the images, convex; by default cross-entropy.
        standard: The features standardised, if that has been done.
    """
    standard = standard or standardised(features, bias=bias)
    weight = torch.zeros(outputs, features.shape[1], requires_grad=True)
    offset = torch.zeros(outputs, requires_grad=True) if bias else None
    parameters = [weight] if offset is None else [weight, offset]
    optimizer = torch.optim.LBFGS(
        parameters, lr=lr, max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimizer.zero_grad()
        total = loss(functional.linear(standard.features, weight, offset), targets)
        total = total + 0.5 * l2 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    before = float("inf")
    for _ in range(rounds):
        optimizer.step(objective)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            value = float(loss(functional.linear(standard.features, weight, offset), targets))
            after = value + 0.5 * l2 * float(weight.square().sum())
            head = standard.head(weight, offset, value)
        yield head
        if not before - after > 1e-6 * max(1.0, abs(after)):
            return
        before = after
