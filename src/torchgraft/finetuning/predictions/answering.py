"""A model's outputs → answers about images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchgraft.errors import DataError
from torchgraft.finetuning.images.reading import Picture
from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.finetuning.outputs import logits_of, maps_of, numbers_of
from torchgraft.finetuning.predictions.prediction import (
    AnyPrediction,
    LabelsPrediction,
    MaskPrediction,
    NumbersPrediction,
    Prediction,
)
from torchgraft.finetuning.predictions.tiles import Tiles, mask_of, tiles_of
from torchgraft.model_info import Preprocessing

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Answering"]


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """How a model is asked, and what its outputs mean.

    Attributes:
        model: In evaluation mode.
        task: What it has learned.
        how: Makes a picture an input.
        names: The number of outputs → their names.
        device: Where the model is.
        batch_size: Inputs at a time.
        top: How many classes to give, of one class an image.
        threshold: From which probability to give a class, of several an image.
    """

    model: nn.Module
    task: str
    how: Preprocessing
    names: Callable[[int], tuple[str, ...]]
    device: torch.device
    batch_size: int
    top: int
    threshold: float

    def prepared(self, picture: Picture) -> Tiles | torch.Tensor:
        """What the model sees of a picture: its middle, or for masks all of it in parts."""
        if self.task == "segmentation":
            return tiles_of(picture, self.how)
        return evaluation_input(picture, self.how)

    def answers(self, names: Sequence[str], prepared: Sequence[Tiles | torch.Tensor]) -> list[AnyPrediction]:
        """One for each image.

        Raises:
            TrainingError: The model's outputs are none of the task.
        """
        if self.task == "segmentation":
            return self._masks(names, [tiles for tiles in prepared if isinstance(tiles, Tiles)])
        inputs = torch.stack([tensor for tensor in prepared if isinstance(tensor, torch.Tensor)])
        output = self.model(inputs.to(self.device))
        if self.task == "regression":
            numbers = numbers_of(output).float().cpu()
            called = self.names(numbers.shape[1])
            rows = numbers.tolist()
            return [
                NumbersPrediction(name, dict(zip(called, row, strict=True)))
                for name, row in zip(names, rows, strict=True)
            ]
        scores = logits_of(output).float().cpu()
        called = self.names(scores.shape[1])
        if self.task == "multi-label":
            return [
                self._labels(name, row, called) for name, row in zip(names, scores.sigmoid(), strict=True)
            ]
        if self.task != "classes":
            raise DataError(f"there is no task {self.task!r} to predict")
        best, places = scores.softmax(dim=1).topk(min(self.top, scores.shape[1]), dim=1)
        return [
            Prediction(name, tuple(called[place] for place in row), tuple(shares), tuple(row))
            for name, shares, row in zip(names, best.tolist(), places.tolist(), strict=True)
        ]

    def _labels(self, name: str, probabilities: torch.Tensor, called: Sequence[str]) -> LabelsPrediction:
        every = dict(zip(called, probabilities.tolist(), strict=True))
        found = sorted(
            (pair for pair in every.items() if pair[1] >= self.threshold), key=lambda pair: -pair[1]
        )
        return LabelsPrediction(name, tuple(label for label, _ in found), tuple(p for _, p in found), every)

    def _masks(self, names: Sequence[str], pictures: Sequence[Tiles]) -> list[AnyPrediction]:
        inputs = torch.cat([tiles.inputs for tiles in pictures])
        scores = torch.cat(
            [
                maps_of(self.model(part.to(self.device)))[:, 0].float().cpu()
                for part in torch.split(inputs, self.batch_size)
            ]
        )
        called = self.names(scores.shape[1])
        kind = np.uint8 if len(called) <= 256 else np.uint16
        answers: list[AnyPrediction] = []
        split = torch.split(scores, [len(tiles.inputs) for tiles in pictures])
        for name, tiles, own in zip(names, pictures, split, strict=True):
            mask = mask_of(own, tiles).numpy()
            shares = np.bincount(mask.ravel(), minlength=len(called)) / mask.size
            by_name = dict(zip(called, shares.tolist(), strict=True))
            answers.append(MaskPrediction(name, mask.astype(kind), called, by_name))
        return answers
