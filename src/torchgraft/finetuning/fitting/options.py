"""What every recipe that trains by gradient can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from torchgraft.errors import TrainingError

__all__ = ["Fitting", "loop_options_but"]

_WORDS = {
    "augment": (True, False, "light", "trivial", "rand"),
    "optimizer": ("adamw", "sgd"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
}


@dataclass(frozen=True, slots=True)
class Fitting:
    """Options of the loop; `finetune` takes each by name, beside the recipe's own.

    Attributes:
        augment: How training images are varied. `True` or `"light"`: a random part, mirrored or not;
            `"trivial"` and `"rand"`: colours and shapes too, by torchvision's TrivialAugmentWide
            (Müller and Hutter 2021) and RandAugment (Cubuk et al. 2020); `False`: not at all.
        crop_scale: Smallest and largest share of a photo's area that a random part covers.
        mixup: Pairs of images are blended, and their labels too, with a share from Beta(mixup, mixup)
            (Zhang et al. 2018); 0: not.
        cutmix: A part of an image is pasted into another (Yun et al. 2019), likewise. Given both, each
            step does one of them.
        optimizer: `"adamw"`, or `"sgd"` with Nesterov's momentum of 0.9, which wants a higher `lr`.
        warmup: Share of all steps in which the learning rate rises.
        clip: The gradient's largest norm; `None`: any.
        label_smoothing: Share of the target that is spread over all classes.
        class_weights: How much an image of each class counts: `"balanced"`, as scikit-learn has it, or a
            mapping from class name to weight; `None`: all alike.
        accumulate: Batches whose gradients make one step: the loss is that of one batch so many times as
            large. Batch normalisation that learns still sees the small ones.
        ema: Decay of a moving average of the weights, such as 0.999, which is then what is validated and
            kept. It starts at 0.1 and rises, so that short runs forget their start. Running statistics are
            averaged too, as timm does.
        precision: Of the forward pass. `"auto"`: bfloat16 on a GPU that has it, float32 elsewhere; on a CPU
            autocast is usually slower than float32, many times so without AMX.
        compile: Whether `torch.compile` makes the model's steps faster; the first ones take minutes.
        channels_last: Whether images and kernels lie in memory with channels last; `None`: if the model
            has five or more convolutions. One patch embedding gains nothing.
        freeze_bn: Whether batch normalisation keeps its statistics and scale; `None`: where it has
            learned any. A short run's small batches measure them worse than pretraining did: solar
            cells, EfficientNet-Lite0, 75 steps of 32: 88 % right with, 72 % without.
        shard: Whether several processes share the parameters among them (FSDP2) instead of having all each.
    """

    augment: bool | str = True
    crop_scale: tuple[float, float] = (0.35, 1.0)
    mixup: float = 0.0
    cutmix: float = 0.0
    optimizer: str = "adamw"
    warmup: float = 0.1
    clip: float | None = 1.0
    label_smoothing: float = 0.0
    class_weights: str | Mapping[str, float] | None = None
    accumulate: int = 1
    ema: float | None = None
    precision: str = "auto"
    compile: bool = False
    channels_last: bool | None = None
    freeze_bn: bool | None = None
    shard: bool = False

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if not any(value is word or (isinstance(word, str) and value == word) for word in words):
                raise TrainingError(f"{name}={value!r} is none of {', '.join(map(repr, words))}")
        ranges = {
            "mixup": 0 <= self.mixup < math.inf,
            "cutmix": 0 <= self.cutmix < math.inf,
            "warmup": 0 <= self.warmup < 1,
            "clip": self.clip is None or 0 < self.clip < math.inf,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "accumulate": isinstance(self.accumulate, int) and self.accumulate >= 1,
            "ema": self.ema is None or 0 < self.ema < 1,
            "crop_scale": 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1,
            "class_weights": not isinstance(self.class_weights, str) or self.class_weights == "balanced",
        }
        for name, right in ranges.items():
            if not right:
                raise TrainingError(f"{name}={getattr(self, name)!r} makes no sense", hint=_HINTS.get(name))


_HINTS = {
    "mixup": "0 for none, 0.2 is usual",
    "cutmix": "0 for none, 1.0 is usual",
    "warmup": "a share of all steps: 0 or more, less than 1",
    "clip": "a number above 0, or None",
    "label_smoothing": "a share: 0 or more, less than 1",
    "accumulate": "a whole number of at least 1",
    "ema": "a decay between 0 and 1, such as 0.999, or None",
    "crop_scale": "two shares of the area, such as (0.35, 1.0)",
    "class_weights": "'balanced', or {class name: weight}",
}


def loop_options_but(*left_out: str) -> tuple[str, ...]:
    """The names of all options but these: what a recipe can use that can't use them."""
    return tuple(field.name for field in fields(Fitting) if field.name not in left_out)
