"""Train the head only, on features that the frozen backbone computes once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from torchgraft.errors import TrainingError
from torchgraft.finetuning.best import Best, epoch_of
from torchgraft.finetuning.fitting.groups import Group
from torchgraft.finetuning.fitting.training import train_groups
from torchgraft.finetuning.group_table import GroupRow, group_rows
from torchgraft.finetuning.heads.features import features_of, head_is_last
from torchgraft.finetuning.heads.head_fitting import can_fit, heads_fitted, targets_of
from torchgraft.finetuning.heads.linear_head import Head
from torchgraft.finetuning.heads.strength import USUAL_STRENGTH, search_strength, steadied
from torchgraft.finetuning.job import Job, Trained

__all__ = ["LinearProbe"]


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """Logistic (of numbers: ridge) regression on the head's inputs, written back into the head.

    An epoch is a round of `iterations` steps of L-BFGS over all features; `weight_decay` is the L2
    penalty on the weights of standardised features. If it is not given, it is searched for: the one with
    the lowest loss on the validation images, by the search of CLIP's linear probes. Of few images it is
    drawn towards 1, since what is best for them is chance. CLIP then trains on both parts once more and
    measures on a third; here the head stays one of the training images alone, since the validation
    images measure it. They have chosen the penalty, so that measure is a little too good: keep images
    apart for `evaluate`.

    Where the model does something with the head's output, has several heads, or learns masks, features
    can't stand in for it: then the heads are trained in place by AdamW, and each epoch runs the whole
    model, though no gradient goes through its backbone.

    Attributes:
        iterations: Steps of L-BFGS in an epoch.
        search: Whether `weight_decay`, if not given, is searched for; else it is 1.
    """

    loop_options: ClassVar[tuple[str, ...]] = ()

    iterations: int = 5
    search: bool = True

    def train(self, job: Job) -> Trained:
        """Train the heads of `job.model`; the backbone stays as it is, bit for bit."""
        return self._on_features(job, job.heads[0]) if _fits(job) else self._in_place(job)

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        """The head; without a learning rate where it is fitted to features."""
        if not _fits(job):
            return group_rows(job.model, _in_place_groups(_for_place(job)))
        decay = job.weight_decay if job.weight_decay is not None or self.search else USUAL_STRENGTH
        head, *rest = group_rows(job.model, [Group("head", job.head_parameters(), 0.0, 0.0)])
        return (replace(head, lr=None, weight_decay=decay), *rest)

    def _on_features(self, job: Job, head: str) -> Trained:
        searched = self.search and job.weight_decay is None
        job = job.with_defaults(epochs=30, lr=1.0, weight_decay=USUAL_STRENGTH)
        assert job.epochs is not None
        assert job.lr is not None
        assert job.weight_decay is not None
        layer = job.model.get_submodule(head)
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        rounds = (
            job.epochs if job.max_steps is None else min(job.epochs, -(-job.max_steps // self.iterations))
        )
        best = Best(layer, job.task.rank, job.patience, after=job.after)
        l2, tried = job.weight_decay, 0
        if job.progress.recall(best):
            l2, tried = job.progress.noted["l2"], job.progress.noted["tried"]
            best.restore()
        else:
            features, val_features = features_of(job, head)
            fitted = heads_fitted(
                job,
                features,
                bias=layer.bias is not None,
                lr=job.lr,
                rounds=rounds,
                iterations=self.iterations,
            )
            measured = _Measured(job, val_features, targets_of(job.task, job.val))
            if searched:
                l2, losses = search_strength(lambda strength: measured.loss(fitted(strength)))
                l2, tried = steadied(l2, len(job.val)), len(losses)
            self._fit(job, layer, best, fitted(l2), measured, rounds)
            assert best.outcomes is not None
            job.on_best(best.epoch, best.outcomes)
            job.progress.keep(best, noted={"l2": l2, "tried": tried})
        assert best.outcomes is not None
        chosen = f"weight_decay {l2:.2g} chosen of {tried} on the validation images"
        return Trained(
            history=tuple(best.history),
            best_epoch=best.epoch,
            outcomes=best.outcomes,
            trainable=sum(p.numel() for p in layer.parameters()),
            settings={"epochs": job.epochs, "lr": job.lr, "weight_decay": l2, **asdict(self)},
            notes=(chosen,) if searched else (),
        )

    def _fit(
        self,
        job: Job,
        layer: nn.Linear | nn.Conv2d,
        best: Best,
        candidates: Iterable[Head],
        measured: _Measured,
        rounds: int,
    ) -> None:
        """Round by round; `layer` has the best round's numbers afterwards."""
        assert job.lr is not None
        began = time.monotonic()
        try:
            for number, candidate in enumerate(candidates, start=1):
                _write(candidate, layer, number, job.lr)
                outcomes = measured.outcomes(candidate)
                seconds, began = time.monotonic() - began, time.monotonic()
                epoch = epoch_of(job, number, candidate.train_loss, outcomes, seconds=seconds)
                best.add(epoch, outcomes)
                job.on_epoch(epoch, rounds)
                if best.exhausted:
                    break
        finally:
            best.restore()

    def _in_place(self, job: Job) -> Trained:
        job = _for_place(job)
        if not job.head_parameters():
            raise TrainingError(f"the head {', '.join(job.heads)} has no parameters to train")
        return train_groups(
            job,
            _in_place_groups(job),
            frozen=list(job.model.modules()),
            augment=False,
            settings={},
            notes=("the head's features could not be used alone, so the heads were trained in place",),
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    """How heads do on the validation features."""

    job: Job
    features: torch.Tensor

    targets: torch.Tensor

    def scores(self, head: Head) -> torch.Tensor:
        return functional.linear(self.features, head.weight, head.bias)

    def outcomes(self, head: Head) -> torch.Tensor:
        return self.job.task.outcome(self.scores(head), self.targets)

    def loss(self, heads: Iterator[Head]) -> float:
        """Of the last head, where the fit ends."""
        *_, last = heads
        return float(self.job.task.loss(self.scores(last), self.targets))


def _fits(job: Job) -> bool:
    return can_fit(job.task) and len(job.heads) == 1 and head_is_last(job, job.heads[0])


def _for_place(job: Job) -> Job:
    return job.with_defaults(epochs=10, lr=1e-3, weight_decay=1e-2)


def _in_place_groups(job: Job) -> list[Group]:
    assert job.lr is not None
    assert job.weight_decay is not None
    return [Group("head", job.head_parameters(), job.lr, job.weight_decay)]


def _write(head: Head, layer: nn.Linear | nn.Conv2d, number: int, lr: float) -> None:
    """Put the fitted numbers in the model's own layer."""
    if not torch.isfinite(head.weight).all():
        raise TrainingError(
            f"the head's weights are not finite after epoch {number}", hint=f"try lr={lr / 10:g}"
        )
    with torch.no_grad():
        layer.weight.copy_(head.weight.view_as(layer.weight))
        if layer.bias is not None and head.bias is not None:
            layer.bias.copy_(head.bias)
