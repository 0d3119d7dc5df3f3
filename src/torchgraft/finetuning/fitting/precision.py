"""In which precision the forward pass runs: what was asked for, if the hardware has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from torchgraft.errors import TrainingError

if TYPE_CHECKING:
    from torchgraft.finetuning.engine import Engine
    from torchgraft.finetuning.fitting.options import Fitting

__all__ = ["Precision", "engine_for", "precision_on"]

Precision: TypeAlias = Literal["no", "bf16", "fp16"]
"""As accelerate calls them; `no` is float32."""


def engine_for(fitting: Fitting) -> Engine:
    """The engine that runs with these options.

    Raises:
        TrainingError: The device has no such arithmetic, or the options don't go together.
    """
    from torchgraft.finetuning.engine import Engine, started

    if fitting.compile and fitting.shard:
        raise TrainingError("compile=True and shard=True don't go together", hint="leave one of them out")
    precision = precision_on(started().device, fitting.precision)
    return Engine(precision=precision, shard=fitting.shard or None)


def precision_on(device: torch.device, asked: str) -> Precision | None:
    """What `Fitting.precision` means on this device; `None`: as `accelerate launch` was told.

    `"auto"` is bfloat16 on a CUDA device that computes in it, and float32 elsewhere. On a CPU without
    matrix instructions for bfloat16, autocast was measured 21 times as slow as float32.

    Raises:
        TrainingError: The device has no such arithmetic.
    """
    if asked == "auto":
        if os.environ.get("ACCELERATE_MIXED_PRECISION", "no") != "no":
            return None
        return "bf16" if device.type == "cuda" and _has_bfloat16() else "no"
    if asked == "fp32":
        return "no"
    if asked == "fp16":
        if device.type == "cpu":
            raise TrainingError("precision='fp16' needs a GPU", hint="use precision='auto'")
        return "fp16"
    if device.type == "cuda" and not _has_bfloat16():
        raise TrainingError("this GPU has no bfloat16", hint="use precision='fp16' or 'fp32'")
    return "bf16"


def _has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
