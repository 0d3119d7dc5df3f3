"""What a model says of images whose truth isn't known."""

from torchgraft.finetuning.predictions.prediction import (
    AnyPrediction,
    LabelsPrediction,
    MaskPrediction,
    NumbersPrediction,
    Prediction,
)
from torchgraft.finetuning.predictions.writing import write_predictions

__all__ = [
    "AnyPrediction",
    "LabelsPrediction",
    "MaskPrediction",
    "NumbersPrediction",
    "Prediction",
    "write_predictions",
]
