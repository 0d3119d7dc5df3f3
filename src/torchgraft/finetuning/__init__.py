"""Fine-tuning: `finetune`, `evaluate`, `predict`. A name is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgraft.finetuning.evaluating import evaluate
    from torchgraft.finetuning.evaluations import (
        AnyEvaluation,
        Calibration,
        CalibrationBin,
        ClassScore,
        Evaluation,
        GroupScore,
        LabelScore,
        Mistake,
        MultiLabelEvaluation,
        RegionScore,
        RegressionEvaluation,
        SegmentationEvaluation,
        TargetScore,
    )
    from torchgraft.finetuning.events import Event
    from torchgraft.finetuning.group_table import GroupRow
    from torchgraft.finetuning.images import ImageData, Images, image_folder
    from torchgraft.finetuning.lr_finding import LrCurve, find_lr
    from torchgraft.finetuning.predicting import predict, predict_iter
    from torchgraft.finetuning.predictions import (
        LabelsPrediction,
        MaskPrediction,
        NumbersPrediction,
        Prediction,
        write_predictions,
    )
    from torchgraft.finetuning.recipes import RECIPES
    from torchgraft.finetuning.result import Epoch, FinetuneResult
    from torchgraft.finetuning.running import finetune

_HOME = {
    "RECIPES": "recipes",
    "AnyEvaluation": "evaluations",
    "Calibration": "evaluations",
    "CalibrationBin": "evaluations",
    "ClassScore": "evaluations",
    "Epoch": "result",
    "Evaluation": "evaluations",
    "GroupScore": "evaluations",
    "Event": "events",
    "FinetuneResult": "result",
    "GroupRow": "group_table",
    "ImageData": "images",
    "Images": "images",
    "LabelScore": "evaluations",
    "LabelsPrediction": "predictions",
    "LrCurve": "lr_finding",
    "MaskPrediction": "predictions",
    "Mistake": "evaluations",
    "MultiLabelEvaluation": "evaluations",
    "NumbersPrediction": "predictions",
    "Prediction": "predictions",
    "RegionScore": "evaluations",
    "RegressionEvaluation": "evaluations",
    "SegmentationEvaluation": "evaluations",
    "TargetScore": "evaluations",
    "evaluate": "evaluating",
    "find_lr": "lr_finding",
    "finetune": "running",
    "image_folder": "images",
    "predict": "predicting",
    "predict_iter": "predicting",
    "write_predictions": "predictions",
}
"""Name → module. So the command line's help costs no import of what only runs need."""

__all__ = [
    "RECIPES",
    "AnyEvaluation",
    "Calibration",
    "CalibrationBin",
    "ClassScore",
    "Epoch",
    "Evaluation",
    "Event",
    "FinetuneResult",
    "GroupRow",
    "GroupScore",
    "ImageData",
    "Images",
    "LabelScore",
    "LabelsPrediction",
    "LrCurve",
    "MaskPrediction",
    "Mistake",
    "MultiLabelEvaluation",
    "NumbersPrediction",
    "Prediction",
    "RegionScore",
    "RegressionEvaluation",
    "SegmentationEvaluation",
    "TargetScore",
    "evaluate",
    "find_lr",
    "finetune",
    "image_folder",
    "predict",
    "predict_iter",
    "write_predictions",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
