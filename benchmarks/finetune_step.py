"""What a step of a full fine-tune costs, beside a loop by hand, HF's Trainer and Lightning.

    python benchmarks/finetune_step.py [--steps N] [--rounds N] [--model NAME] [--batch-size N] [--size N]

Each takes the same images from the same PyTorch dataset, with one thread, AdamW in one fused kernel,
gradients clipped to 1, and a schedule. They take turns, one run a round; the first steps of each run are left
out. Seconds are from one step's end to the next one's, so that loading, logging and callbacks count. The
processor's time is shown beside them: it is less disturbed by what else the machine does. Lightning is no
dependency: `pip install lightning` adds it.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import timm
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import torchgraft as tg
from torchgraft.finetuning.images import parts_of
from torchgraft.finetuning.inputs.batches import Inputs

SKIPPED = 5
CLASSES = 10


@dataclass
class Clock:
    """When each step ended: on the wall, and in the processor's time of this process."""

    wall: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    _last: tuple[float, float] | None = None
    _seen: int = 0

    def begin(self) -> None:
        self._last, self._seen = None, 0

    def tick(self, *_: object) -> None:
        now = (time.perf_counter(), time.process_time())
        self._seen += 1
        if self._last is not None and self._seen > SKIPPED:
            self.wall.append(now[0] - self._last[0])
            self.busy.append(now[1] - self._last[1])
        self._last = now


@dataclass(frozen=True)
class Work:
    """The same for all: images, labels, how many steps."""

    model: str
    images: list[np.ndarray]
    labels: list[int]
    how: tg.Preprocessing
    batch_size: int
    steps: int

    def net(self) -> nn.Module:
        torch.manual_seed(0)
        return timm.create_model(self.model, num_classes=CLASSES)

    def dataset(self) -> Inputs:
        found = parts_of((self.images, self.labels))["all"]
        return Inputs(found, self.how, target=lambda label: label, repeated=True)

    def loader(self) -> DataLoader:
        return DataLoader(self.dataset(), batch_size=self.batch_size, shuffle=True, drop_last=True)


def by_hand(work: Work, clock: Clock) -> None:
    """As one writes it who knows about channels last."""
    model = work.net().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, work.steps)
    loader = work.loader()
    total, step = 0.0, 0
    while True:
        for inputs, targets, _ in loader:
            inputs = inputs.to(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(inputs), targets)
            if not math.isfinite(loss.item()):
                raise ValueError(step)
            total += loss.item()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            clock.tick()
            if step == work.steps:
                return


def torchgraft(work: Work, clock: Clock, *, folder: bool = False) -> None:
    """`finetune`, with its progress events; with a run folder, its logs too."""
    with tempfile.TemporaryDirectory() as place:
        tg.finetune(
            work.net(),
            (work.images, work.labels),
            val=(work.images[:CLASSES], work.labels[:CLASSES]),
            recipe="full",
            lr=1e-4,
            batch_size=work.batch_size,
            epochs=10_000,
            max_steps=work.steps,
            augment=False,
            freeze_bn=False,
            channels_last=True,
            preprocessing=work.how,
            workers=0,
            out=f"{place}/run" if folder else None,
            on_event=lambda event: clock.tick() if event.stage == "training" else None,
        )


def trainer(work: Work, clock: Clock) -> None:
    """transformers.Trainer with its defaults but for what is the same for all."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = work.net().to(memory_format=torch.channels_last)

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(inputs.to(memory_format=torch.channels_last))
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            clock.tick()

    def together(rows: list) -> dict[str, torch.Tensor]:
        return {
            "inputs": torch.stack([row[0] for row in rows]),
            "labels": torch.tensor([row[1] for row in rows]),
        }

    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            place,
            per_device_train_batch_size=work.batch_size,
            max_steps=work.steps,
            learning_rate=1e-4,
            weight_decay=0.02,
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_drop_last=True,
            dataloader_pin_memory=False,
        )
        Trainer(
            Wrapped(), arguments, data_collator=together, train_dataset=work.dataset(), callbacks=[Ticks()]
        ).train()


def lightning(work: Work, clock: Clock) -> None:
    """lightning.Trainer with its defaults but for what is the same for all."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = work.net().to(memory_format=torch.channels_last)

        def training_step(self, batch: tuple, _: int) -> torch.Tensor:
            inputs, targets, _ = batch
            loss = functional.cross_entropy(self.net(inputs.to(memory_format=torch.channels_last)), targets)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> dict:
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-4, weight_decay=0.02, fused=True)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, work.steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    class Ticks(lightning.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            clock.tick()

    with tempfile.TemporaryDirectory() as place:
        lightning.Trainer(
            default_root_dir=place,
            accelerator="cpu",
            max_steps=work.steps,
            gradient_clip_val=1.0,
            callbacks=[Ticks()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Module(), work.loader())


def contenders() -> dict[str, Callable[[Work, Clock], None]]:
    found: dict[str, Callable[[Work, Clock], None]] = {
        "by hand": by_hand,
        "torchgraft": torchgraft,
        "torchgraft, run folder": lambda work, clock: torchgraft(work, clock, folder=True),
        "HF Trainer": trainer,
    }
    try:
        import lightning as _  # noqa: F401

        found["Lightning"] = lightning
    except ImportError:
        print("Lightning is not installed and left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    count = 16 * given.batch_size
    images = list(generator.integers(0, 256, (count, given.size, given.size, 3), dtype=np.uint8))
    how = tg.Preprocessing(size=(given.size, given.size), crop=1.0)
    labels = [index % CLASSES for index in range(count)]
    work = Work(given.model, images, labels, how, given.batch_size, given.steps)
    clocks = {name: Clock() for name in contenders()}
    for number in range(given.rounds):
        order = list(contenders().items())
        for name, run in order if number % 2 else reversed(order):
            clocks[name].begin()
            run(work, clocks[name])
    wall, busy = (median(getattr(clocks["by hand"], kind)) for kind in ("wall", "busy"))
    count = len(clocks["by hand"].wall)
    print(f"{given.model}, {given.batch_size} images of {given.size} pixels, medians of {count} steps")
    print(f"{'':24} {'on the wall':>20} {'processor':>20}")
    for name, clock in clocks.items():
        mine, used = median(clock.wall), median(clock.busy)
        print(
            f"{name:24} {mine * 1000:8.1f} ms {mine / wall:7.3f} x {used * 1000:8.1f} ms {used / busy:7.3f} x"
        )


if __name__ == "__main__":
    main()
