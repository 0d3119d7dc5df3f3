"""A phase of a run: epochs of steps, each validated, the best kept, to be gone on with at any step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.best import Best, epoch_of
from torchgraft.finetuning.events import Event, Step
from torchgraft.finetuning.fitting.averages import Averages
from torchgraft.finetuning.fitting.divergence import MicroBatch, diverged
from torchgraft.finetuning.fitting.losses import Losses, NotFiniteError
from torchgraft.finetuning.fitting.memory import memory_told
from torchgraft.finetuning.fitting.optimizers import optimizer_named
from torchgraft.finetuning.fitting.schedule import warmup_cosine
from torchgraft.finetuning.fitting.stepping import Stepper
from torchgraft.finetuning.fitting.stopping import Stop
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.finetuning.inputs.batches import EpochOrder, Inputs, batches
from torchgraft.finetuning.job import Job
from torchgraft.finetuning.memory_layout import contiguous
from torchgraft.finetuning.scoring import score

if TYPE_CHECKING:
    from torchgraft.finetuning.fitting.loop import Loop

__all__ = ["Phase"]


class _StoppedError(Exception):
    """Somebody wants the run to end while it validates."""


class Phase:
    """One call of `fit`: from the first step, or the one after the last checkpoint, to the last epoch."""

    def __init__(self, job: Job, loop: Loop, best: Best, stop: Stop, *, channels_last: bool) -> None:
        assert job.epochs is not None
        self.job, self.loop, self.best, self.stop, self.lasts = job, loop, best, stop, channels_last
        engine, fitting = job.engine, job.fitting
        strength = "light" if fitting.augment is True else fitting.augment
        augmentation = None
        if loop.augment and strength:
            augmentation = Augmentation(
                job.preprocessing, scale=fitting.crop_scale, seed=job.seed, strength=strength
            )
        self.inputs = Inputs(
            job.train, job.preprocessing, augmentation, target=job.task.target, repeated=job.epochs > 1
        )
        self.order = EpochOrder(len(job.train), job.batch_size, job.seed)
        self.loader = engine.loader(
            batches(self.inputs, batch_size=job.batch_size, workers=job.workers, order=self.order)
        )
        val_inputs = Inputs(job.val, job.preprocessing, target=job.task.target, repeated=True)
        self.val_loader = engine.loader(
            batches(val_inputs, batch_size=max(64, job.batch_size), workers=job.workers)
        )
        model = engine.model(job.model)
        groups = [replace(group, parameters=engine.current(group.parameters)) for group in loop.groups]
        self.parameters = [p for group in groups for p in group.parameters]
        self.optimizer = optimizer_named(fitting.optimizer, groups)
        self.averages = Averages(job.model, fitting.ema) if fitting.ema is not None else None
        self.stepper = Stepper(
            job,
            model,
            self.optimizer,
            self.parameters,
            penalty=loop.penalty,
            augment=loop.augment,
            seed=hash((job.seed, job.progress.phase)) % 2**32,
            channels_last=channels_last,
        )
        self.in_epoch = -(-len(self.loader) // fitting.accumulate)
        self.total = job.epochs * self.in_epoch
        if job.max_steps is not None:
            self.total = min(self.total, job.max_steps)
        self.warmup = round(fitting.warmup * self.total)
        self.first = len(best.history) + 1
        self.count = len(best.history) + -(-self.total // self.in_epoch)
        self.step = 0
        self.used = 0  # images of this epoch that have been trained on
        self.losses = Losses()
        self.began = time.monotonic()
        self.resume()

    def resume(self) -> None:
        """Take everything back to where this phase's last checkpoint was written, if there is one."""
        found = self.job.progress.saved()
        if found is None:
            return
        state, tensors = found.state, found.tensors
        self.best.load(state["best"], self.job.engine.from_first(tensors["best"]))
        for number in range(self.first, len(self.best.history) + 1):
            self.begin(number)
        if state["used"]:
            self.begin(len(self.best.history) + 1)
        self.job.engine.load_state(self.job.model, self.optimizer, tensors["model"], tensors["optimizer"])
        self.job.engine.load_scaler(state["scaler"])
        if self.averages is not None:
            self.averages.load(self.job.engine.from_first(tensors["averages"]))
        self.step, self.used = state["step"], state["used"]
        self.set_rates(self.step - 1)
        self.losses = Losses(total=state["loss"], count=state["losses"])
        self.began = time.monotonic() - state["seconds"]

    def epochs(self) -> None:
        """All that are left."""
        while self.used or (self.step < self.total and not self.best.exhausted):
            number = len(self.best.history) + 1
            if not self.used:
                self.began = time.monotonic()
                self.begin(number)
            train_loss = self.train(number)
            with self.validating():
                outcomes = self.validate(number)
                seconds = time.monotonic() - self.began
                epoch = epoch_of(self.job, number, train_loss, outcomes, lr=self.rates(), seconds=seconds)
                improved = self.best.add(epoch, outcomes)
                self.job.on_epoch(epoch, self.count)
                if improved:
                    with contiguous(self.job.model, self.lasts):
                        self.job.on_best(number, outcomes)
            self.used, self.losses = 0, Losses()
            if self.job.progress.due(self.step, epoch_over=True):
                self.save()
            self.end_if_asked()

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Inside, the model has its averages, if there are any; Ctrl-C ends it there, to be done again."""
        try:
            with self.averages.in_place() if self.averages is not None else nullcontext():
                yield
        except _StoppedError:
            self.save()
            raise KeyboardInterrupt from None

    def begin(self, number: int) -> None:
        """Let the recipe change what learns in this epoch."""
        if self.loop.begin_epoch is not None:
            self.loop.begin_epoch(number, self.count)
            self.stepper.model = self.job.engine.model(self.job.model)

    def train(self, number: int) -> float:
        """One epoch, or what is left of it or of `max_steps`; the mean loss."""
        self.order.set_epoch(number, self.used)
        self.inputs.epoch = number
        self.loop.set_mode(self.job.model)
        for group in self.groups_of_batches():
            self.set_rates(self.step)
            try:
                self.stepper.step(group, self.step + 1, lambda loss, seen: self.look(loss, seen, number))
            except NotFiniteError as error:
                raise self.diverged(error, number) from error
            self.step += 1
            self.used += self.job.batch_size * len(group)
            if self.averages is not None:
                self.averages.update(self.step)
            self.tell(number)
            if self.step >= self.total:
                break
            if self.job.progress.due(self.step, epoch_over=False):
                self.save()
            self.end_if_asked()
        try:
            self.losses.flush()
        except NotFiniteError as error:
            raise self.diverged(error, number) from error
        return self.losses.mean

    def groups_of_batches(self) -> Iterator[list[Any]]:
        """Each as many batches as make a step; none once the epoch was used up before."""
        if self.used >= self.order.used or self.step >= self.total:
            return
        loader = iter(self.loader)
        while group := self.read(loader):
            yield group

    def read(self, loader: Iterator[Any]) -> list[Any]:
        """The batches of the next step; a dataset that draws random numbers draws the same ones again."""
        self.job.engine.reseed(~self.stepper.seed, self.step)
        return list(islice(loader, self.job.fitting.accumulate))

    def validate(self, number: int) -> torch.Tensor:
        """The task's outcomes on the validation images, a row an image."""
        engine, total, task = self.job.engine, len(self.job.val), self.job.task

        def done(images: int) -> None:
            if self.stop.requested and engine.processes == 1:
                raise _StoppedError
            self.job.emit(Event("validating", min(images, total), total, number, None))

        with engine.autocast(), memory_told(self.job.batch_size, self.job.fitting.accumulate):
            return score(
                self.job.model,
                self.val_loader,
                lambda output, targets: task.outcome(task.outputs(output).float(), targets),
                device=engine.device,
                gather=engine.gather,
                progress=done,
            )

    def look(self, loss: torch.Tensor, seen: Sequence[MicroBatch], number: int) -> None:
        """Note a step's loss before the weights are changed."""
        self.losses.add(loss, (self.step + 1, number, seen))

    def tell(self, number: int) -> None:
        """Report the step that was taken."""
        self.job.emit(Event("training", self.step, self.total, number, self.losses.mean))
        phase, before = self.job.progress.phase, self.job.progress.steps_before
        self.job.on_step(
            Step(before + self.step, before + self.total, number, self.losses.last, self.rates(), phase)
        )

    def set_rates(self, step: int) -> None:
        """The schedule depends on the number of the step alone, so there is nothing of it to be kept."""
        share = warmup_cosine(step, self.total, self.warmup)
        for entry, group in zip(self.optimizer.param_groups, self.loop.groups, strict=True):
            entry["lr"] = group.lr * share

    def rates(self) -> dict[str, float]:
        """Each group's learning rate now; groups of one name share theirs."""
        return {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def save(self) -> None:
        """Write a checkpoint, if there is a run folder; all processes come here together."""
        if self.job.progress.folder is None:
            return
        self.losses.flush()
        engine = self.job.engine
        model, optimizer = engine.state(self.job.model, self.optimizer)
        tensors = {"model": model, "optimizer": optimizer}
        if self.averages is not None:
            tensors["averages"] = engine.whole(self.averages.tensors)
        state = {
            "step": self.step,
            "used": self.used,
            "loss": self.losses.total,
            "losses": self.losses.count,
            "scaler": engine.scaler_state(),
            "seconds": time.monotonic() - self.began,
        }
        self.job.progress.save(self.step, state, self.best, tensors)

    def last(self) -> dict[str, torch.Tensor] | None:
        """The weights as they are now, unless they are the best ones."""
        if self.best.epoch == len(self.best.history) and self.averages is None:
            return None
        return self.job.engine.whole(self.job.model.state_dict()) if self.job.progress.folder else None

    def end_if_asked(self) -> None:
        """Ctrl-C or SIGTERM in any process: all save, and end."""
        if self.job.engine.any(self.stop.requested):
            self.save()
            raise KeyboardInterrupt

    def diverged(self, error: NotFiniteError, number: int) -> TrainingError:
        """What to tell of a loss that is no number; its batch is kept."""
        step, _, seen = error.step
        lr = max(group.lr for group in self.loop.groups)
        folder = self.job.progress.folder
        return diverged(
            seen,
            words=f"the loss became {error.value} in step {step} (epoch {number}) at learning rate {lr:g}",
            hint=f"try lr={(self.job.lr or lr) / 10:g}",
            names=self.job.train.names,
            model=self.job.model,
            loss=lambda inputs, targets: self.stepper.loss(inputs, targets),
            folder=folder.parent / "diverged" if folder is not None and self.job.engine.main else None,
        )
