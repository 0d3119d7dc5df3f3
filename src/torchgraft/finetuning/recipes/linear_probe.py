"""Train the head only, on features that the frozen backbone computes once."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional

from torchgraft.errors import TrainingError
from torchgraft.finetuning.best import Best, epoch_of
from torchgraft.finetuning.features import features_of, head_is_last
from torchgraft.finetuning.fitting import Loop, fit
from torchgraft.finetuning.job import Job, Trained
from torchgraft.finetuning.logistic import Head, fit_logistic

__all__ = ["LinearProbe"]


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """Logistic regression on the head's inputs, written back into the head.

    An epoch is a round of `iterations` steps of L-BFGS over all features; `weight_decay` is the L2
    penalty on the weights of standardised features. Where the model does something with the head's
    output, or has several heads, features can't stand in for it: then the heads are trained in place
    by AdamW, and each epoch runs the whole model.

    Attributes:
        iterations: Steps of L-BFGS in an epoch.
    """

    iterations: int = 5

    def train(self, job: Job) -> Trained:
        """Train the heads of `job.model`; the backbone stays as it is, bit for bit."""
        if len(job.heads) == 1 and head_is_last(job, job.heads[0]):
            return self._on_features(job, job.heads[0])
        return self._in_place(job)

    def _on_features(self, job: Job, head: str) -> Trained:
        job = job.with_defaults(epochs=30, lr=1.0, weight_decay=0.1)
        assert job.epochs is not None
        assert job.lr is not None
        assert job.weight_decay is not None
        layer = job.model.get_submodule(head)
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        rounds = (
            job.epochs if job.max_steps is None else min(job.epochs, -(-job.max_steps // self.iterations))
        )
        features, val_features = features_of(job, head)
        best = Best(layer, job.patience)
        began = time.monotonic()
        try:
            for number, fitted in enumerate(
                fit_logistic(
                    features,
                    torch.tensor(job.train.labels),
                    len(job.train.classes),
                    bias=layer.bias is not None,
                    l2=job.weight_decay,
                    lr=job.lr,
                    rounds=rounds,
                    iterations=self.iterations,
                ),
                start=1,
            ):
                _write(fitted, layer, number, job.lr)
                scores = functional.linear(val_features, fitted.weight, fitted.bias)
                probabilities = scores.softmax(dim=1)
                seconds, began = time.monotonic() - began, time.monotonic()
                labels = job.val.labels
                epoch = epoch_of(number, fitted.train_loss, probabilities, labels, lr=None, seconds=seconds)
                best.add(epoch, probabilities)
                job.on_epoch(epoch, rounds)
                if best.exhausted:
                    break
        finally:
            best.restore()
        assert best.probabilities is not None
        job.on_best(best.epoch, best.probabilities)
        return Trained(
            history=tuple(best.history),
            best_epoch=best.epoch,
            probabilities=best.probabilities,
            trainable=sum(p.numel() for p in layer.parameters()),
            settings={"epochs": job.epochs, "lr": job.lr, "weight_decay": job.weight_decay, **asdict(self)},
        )

    def _in_place(self, job: Job) -> Trained:
        job = job.with_defaults(epochs=10, lr=1e-3, weight_decay=1e-2)
        parameters = job.head_parameters()
        if not parameters:
            raise TrainingError(f"the head {', '.join(job.heads)} has no parameters to train")
        before = [(p, p.requires_grad) for p in job.model.parameters()]
        job.model.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        groups = [{"params": parameters, "lr": job.lr, "weight_decay": job.weight_decay}]
        try:
            best = fit(job, Loop(groups, set_mode=lambda model: model.eval()))
        finally:
            for parameter, trained in before:
                parameter.requires_grad_(trained)
        assert best.probabilities is not None
        return Trained(
            history=tuple(best.history),
            best_epoch=best.epoch,
            probabilities=best.probabilities,
            trainable=sum(p.numel() for p in parameters),
            settings={"epochs": job.epochs, "lr": job.lr, "weight_decay": job.weight_decay},
            notes=("the model goes on after its head, so features were not cached",),
        )


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
