"""Any pretrained weights into any PyTorch model, correctly, and you can see that it is so."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgraft.anatomy import examine
    from torchgraft.checkpoint import Checkpoint, open
    from torchgraft.comparing import Diff, diff
    from torchgraft.errors import (
        AdaptError,
        AmbiguousMatchError,
        AnatomyError,
        CheckpointError,
        CorruptCheckpointError,
        CoverageError,
        DataError,
        FetchError,
        MatchError,
        MissingDependencyError,
        ModelError,
        NoWeightsError,
        SaveError,
        TorchgraftError,
        TrainingError,
        UnknownFormatError,
        UnknownModelError,
        UnsafeCheckpointError,
        VerificationError,
    )
    from torchgraft.exporting import Exported, export
    from torchgraft.finetuning import ImageData, evaluate, find_lr, finetune, predict, predict_iter
    from torchgraft.labels import read_labels
    from torchgraft.model_info import ModelInfo, Preprocessing, describe, info_of
    from torchgraft.planning import Plan, graft, plan
    from torchgraft.report import write_report
    from torchgraft.saving import convert, save
    from torchgraft.storage import fetch
    from torchgraft.surgery import adapt, grow
    from torchgraft.tensors import TensorRef
    from torchgraft.verifying import StatisticsCheck, Verification, check_statistics, verify
    from torchgraft.zoo import PublishedModel, PublishedWeights, create_model, list_models, load, published

__version__ = "0.1.0"

_HOME = {
    "Checkpoint": "checkpoint",
    "Diff": "comparing",
    "Exported": "exporting",
    "ImageData": "finetuning",
    "ModelInfo": "model_info",
    "Plan": "planning",
    "Preprocessing": "model_info",
    "PublishedModel": "zoo",
    "PublishedWeights": "zoo",
    "StatisticsCheck": "verifying",
    "TensorRef": "tensors",
    "Verification": "verifying",
    "adapt": "surgery",
    "check_statistics": "verifying",
    "convert": "saving",
    "create_model": "zoo",
    "describe": "model_info",
    "diff": "comparing",
    "evaluate": "finetuning",
    "examine": "anatomy",
    "export": "exporting",
    "fetch": "storage",
    "find_lr": "finetuning",
    "finetune": "finetuning",
    "graft": "planning",
    "grow": "surgery",
    "info_of": "model_info",
    "list_models": "zoo",
    "load": "zoo",
    "open": "checkpoint",
    "plan": "planning",
    "predict": "finetuning",
    "predict_iter": "finetuning",
    "published": "zoo",
    "read_labels": "labels",
    "save": "saving",
    "verify": "verifying",
    "write_report": "report",
    "AdaptError": "errors",
    "AmbiguousMatchError": "errors",
    "AnatomyError": "errors",
    "CheckpointError": "errors",
    "CorruptCheckpointError": "errors",
    "CoverageError": "errors",
    "DataError": "errors",
    "FetchError": "errors",
    "MatchError": "errors",
    "MissingDependencyError": "errors",
    "ModelError": "errors",
    "NoWeightsError": "errors",
    "SaveError": "errors",
    "TorchgraftError": "errors",
    "TrainingError": "errors",
    "UnknownFormatError": "errors",
    "UnknownModelError": "errors",
    "UnsafeCheckpointError": "errors",
    "VerificationError": "errors",
}
"""Which room a public name lives in: a name is imported when it is first used, so that
`import torchgraft` brings in neither PyTorch nor anything else."""

__all__ = [
    "AdaptError",
    "AmbiguousMatchError",
    "AnatomyError",
    "Checkpoint",
    "CheckpointError",
    "CorruptCheckpointError",
    "CoverageError",
    "DataError",
    "Diff",
    "Exported",
    "FetchError",
    "ImageData",
    "MatchError",
    "MissingDependencyError",
    "ModelError",
    "ModelInfo",
    "NoWeightsError",
    "Plan",
    "Preprocessing",
    "PublishedModel",
    "PublishedWeights",
    "SaveError",
    "StatisticsCheck",
    "TensorRef",
    "TorchgraftError",
    "TrainingError",
    "UnknownFormatError",
    "UnknownModelError",
    "UnsafeCheckpointError",
    "Verification",
    "VerificationError",
    "__version__",
    "adapt",
    "check_statistics",
    "convert",
    "create_model",
    "describe",
    "diff",
    "evaluate",
    "examine",
    "export",
    "fetch",
    "find_lr",
    "finetune",
    "graft",
    "grow",
    "info_of",
    "list_models",
    "load",
    "open",
    "plan",
    "predict",
    "predict_iter",
    "published",
    "read_labels",
    "save",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'torchgraft' has no attribute {name!r}")
    value = getattr(import_module(f"torchgraft.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
