"""What the demo does: inspect, graft, predict, adapt and fine-tune, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.text import Text
from torch import nn

import torchgraft as tg
from torchgraft.demo.audience import Audience
from torchgraft.demo.contest import Contest, Settings, hold_contest
from torchgraft.demo.material import (
    LabelledPhoto,
    SolarCells,
    imagenet_names,
    imagenet_photos,
    lite0_weights,
    solar_cells,
)
from torchgraft.finetuning import Prediction
from torchgraft.report.terminal import Guesses, checkpoint_view, plan_view, predictions_view

__all__ = ["Demo", "run"]

ARCHITECTURE = "timm/tf_efficientnet_lite0"


@dataclass(frozen=True, slots=True)
class Demo:
    """What came of it, step by step; the report is made from this.

    Attributes:
        weights: The checkpoint file.
        plan: How its tensors went into the model.
        adaptation: How they went into the model of one channel and two classes.
        photos: The ImageNet photos.
        names: The thousand class names.
        predictions: What the model says of each photo.
        cells: The solar cells that were learned from.
        held_out: Some that no model has seen.
        contest: Pretrained against random weights on the solar cells.
        seconds: The whole run.
    """

    weights: Path
    plan: tg.Plan
    adaptation: tg.Plan
    photos: Sequence[LabelledPhoto]
    names: Sequence[str]
    predictions: Sequence[Prediction]
    cells: SolarCells
    held_out: SolarCells
    contest: Contest
    seconds: float

    @property
    def right(self) -> int:
        """How many photos are recognised at the first guess."""
        pairs = zip(self.photos, self.predictions, strict=True)
        return sum(photo.label == guess.indices[0] for photo, guess in pairs)


def run(out: Path, audience: Audience, settings: Settings | None = None) -> Path:
    """Run all of it and write the report.

    Args:
        out: A folder for the report and the fine-tuned models.
        audience: Who watches.
        settings: How much is trained; the default takes a few minutes on two cores.

    Returns:
        The report's path.
    """
    from torchgraft.demo.page import write_page

    began = time.monotonic()
    settings = settings or Settings()
    weights, names, photos = lite0_weights(), imagenet_names(), imagenet_photos()

    audience.step("Inspect the file: lazily, and nothing in it is run")
    checkpoint = tg.open(weights)
    audience.show(checkpoint_view(checkpoint))

    audience.step(f"Graft it onto {ARCHITECTURE}, which calls every tensor something else")
    model = tg.create_model(ARCHITECTURE)
    plan = tg.plan(model, checkpoint)
    audience.show(plan_view(plan))
    report = plan.apply()
    audience.show(Text(str(report), style="bold"))

    audience.step(f"Predict {len(photos)} labelled ImageNet photos with it")
    tg.describe(model, labels=names)
    predictions = tg.predict(model, [photo.path for photo in photos], top=3)
    audience.show(predictions_view([_guesses(p, g, names) for p, g in zip(photos, predictions, strict=True)]))

    audience.step("Adapt it to one input channel and two classes, then fine-tune it on solar cells")
    adapted = tg.adapt(tg.create_model(ARCHITECTURE), in_channels=1, num_classes=2, in_mode="sum")
    adaptation = tg.plan(adapted, checkpoint, in_mode="sum")
    audience.show(Text(adaptation.summary))
    cells = solar_cells(settings.cells)
    contest = hold_contest(
        cells, lambda pretrained, seed: _starter(checkpoint, pretrained, seed), out, settings, audience
    )
    audience.show(contest.view())

    audience.step("Write the report")
    held_out = solar_cells(settings.shown, skip=settings.cells)
    seconds = time.monotonic() - began
    demo = Demo(weights, plan, adaptation, photos, names, predictions, cells, held_out, contest, seconds)
    return write_page(demo, out / "report.html")


def _guesses(photo: LabelledPhoto, prediction: Prediction, names: Sequence[str]) -> Guesses:
    best = tuple(zip(prediction.labels, prediction.probabilities, strict=True))
    return Guesses(photo.path.name, best[:1], truth=names[photo.label])


def _starter(checkpoint: tg.Checkpoint, pretrained: bool, seed: int) -> nn.Module:
    """The one-channel, two-class model a contender starts from."""
    torch.manual_seed(seed)
    return tg.create_model(
        ARCHITECTURE,
        weights=checkpoint if pretrained else None,
        in_channels=1,
        num_classes=2,
        in_mode="sum",
        preprocessing=tg.Preprocessing(size=(128, 128), crop=1.0, mean=(0.5,) * 3, std=(0.5,) * 3),
    )
