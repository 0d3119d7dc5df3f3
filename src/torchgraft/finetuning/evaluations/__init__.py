"""How well a model does: one file a kind of truth, all with the same few things to ask for."""

from torchgraft.finetuning.evaluations.calibration import Calibration, CalibrationBin
from torchgraft.finetuning.evaluations.class_evaluation import ClassScore, Evaluation
from torchgraft.finetuning.evaluations.evaluation import AnyEvaluation
from torchgraft.finetuning.evaluations.group_score import GroupScore
from torchgraft.finetuning.evaluations.mistakes import Mistake
from torchgraft.finetuning.evaluations.multi_label_evaluation import LabelScore, MultiLabelEvaluation
from torchgraft.finetuning.evaluations.regression_evaluation import RegressionEvaluation, TargetScore
from torchgraft.finetuning.evaluations.segmentation_evaluation import RegionScore, SegmentationEvaluation

__all__ = [
    "AnyEvaluation",
    "Calibration",
    "CalibrationBin",
    "ClassScore",
    "Evaluation",
    "GroupScore",
    "LabelScore",
    "Mistake",
    "MultiLabelEvaluation",
    "RegionScore",
    "RegressionEvaluation",
    "SegmentationEvaluation",
    "TargetScore",
]
