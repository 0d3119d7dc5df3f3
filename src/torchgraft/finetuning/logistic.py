"""Logistic regression of the features: convex, so that a full-batch L-BFGS ends at the one best head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

__all__ = ["Head", "fit_logistic"]


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head after some iterations: `weight` (classes, features), `bias` (classes,) or none.

    `train_loss` is the mean cross-entropy over the training features, in nats.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    train_loss: float


def fit_logistic(
    features: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    *,
    bias: bool,
    l2: float,
    lr: float,
    rounds: int,
    iterations: int,
) -> Iterator[Head]:
    """Fit, and give the head after each round; ends early when it no longer gets better.

    Features are standardised meanwhile, so that one `l2` suits them all; the heads that are given
    are for the features as they came: scale and shift are folded into weight and bias. Without a
    bias there is nothing to fold a shift into, and features are only scaled.

    Minimises the mean cross-entropy + l2/2 · ‖standardised weight‖², starting from zero.

    Args:
        features: (images, features), float32.
        labels: (images,), int64.
        classes: Number of classes.
        bias: Whether the head has one.
        l2: Strength of the penalty.
        lr: First step of the line search.
        rounds: How many heads to give at most.
        iterations: Steps of L-BFGS in a round.
    """
    shift = features.mean(dim=0) if bias else torch.zeros(features.shape[1])
    spread = features.std(dim=0, correction=0)
    scale = torch.where(spread > 1e-7, spread, torch.ones_like(spread))
    standard = (features - shift) / scale
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    offset = torch.zeros(classes, requires_grad=True) if bias else None
    parameters = [weight] if offset is None else [weight, offset]
    optimizer = torch.optim.LBFGS(
        parameters, lr=lr, max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(functional.linear(standard, weight, offset), labels)
        total = loss + 0.5 * l2 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    before = float("inf")
    for _ in range(rounds):
        optimizer.step(objective)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            loss = float(functional.cross_entropy(functional.linear(standard, weight, offset), labels))
            folded = weight / scale
            folded_bias = None if offset is None else offset - folded @ shift
            after = loss + 0.5 * l2 * float(weight.square().sum())
        yield Head(folded.detach().clone(), folded_bias, loss)
        if not before - after > 1e-6 * max(1.0, abs(after)):
            return
        before = after
