"""The optimizers that can be named."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import SGD, AdamW, Optimizer

from torchgraft.finetuning.fitting.groups import Group

__all__ = ["optimizer_named"]


def optimizer_named(name: str, groups: Sequence[Group]) -> Optimizer:
    """`adamw` or `sgd` (Nesterov, momentum 0.9), in one fused kernel where all parameters allow it."""
    entries = [group.for_optimizer() for group in groups]
    parameters = [p for group in groups for p in group.parameters]
    fused = all(p.device.type in ("cpu", "cuda") and p.dtype.is_floating_point for p in parameters)
    lr = max(group.lr for group in groups)
    if name == "sgd":
        return SGD(entries, lr=lr, momentum=0.9, nesterov=True, fused=fused)
    return AdamW(entries, lr=lr, fused=fused)
