"""The parameters of a job's model by depth."""

from __future__ import annotations

import torch
from torch import nn

from torchgraft.anatomy.depth import layers_of
from torchgraft.finetuning.job import Job

__all__ = ["layers_of_job"]


def layers_of_job(job: Job) -> list[tuple[str, list[nn.Parameter]]]:
    """Name and parameters of each layer, from the input to the head; each parameter is in one of them."""
    how = job.preprocessing
    example = torch.zeros(1, how.channels, *how.size, device=job.engine.device)
    named = dict(job.model.named_parameters())
    layers = layers_of(job.model, job.heads, example)
    return [(layer.name, [named[name] for name in layer.parameters]) for layer in layers]
