"""Fine-tuning of image classifiers: `finetune`, `evaluate`, `predict`. PyTorch is imported when they run."""

from torchgraft.finetuning.evaluating import evaluate
from torchgraft.finetuning.events import Event
from torchgraft.finetuning.images import Images, image_folder
from torchgraft.finetuning.metrics import ClassScore, Evaluation
from torchgraft.finetuning.predicting import Prediction, predict
from torchgraft.finetuning.recipes import RECIPES
from torchgraft.finetuning.result import Epoch, FinetuneResult
from torchgraft.finetuning.running import finetune

__all__ = [
    "RECIPES",
    "ClassScore",
    "Epoch",
    "Evaluation",
    "Event",
    "FinetuneResult",
    "Images",
    "Prediction",
    "evaluate",
    "finetune",
    "image_folder",
    "predict",
]
