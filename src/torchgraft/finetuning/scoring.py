"""Run a model over images and collect what comes out, in the images' order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.unsharded import is_sharded
from torchgraft.finetuning.outputs import eval_mode

__all__ = ["device_of", "score"]


def score(
    model: nn.Module,
    loader: Iterable[Any],
    outcome: Callable[[object, torch.Tensor], torch.Tensor],
    *,
    device: torch.device,
    gather: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """`outcome(model(batch), targets)` for every image, on the CPU, rows in the order of the data set.

    Args:
        model: Runs in evaluation mode, without gradients, and is left in the mode it was in.
        loader: Gives (inputs, targets, indices); the indices put the rows in order. Of inputs that are more
            than their indices, the first count.
        outcome: What to keep of a batch's output: a tensor with a row an image; half precision becomes
            float32.
        device: Where the model is.
        gather: Collects the rows of all processes, once, after the last batch.
        progress: Called with the number of images done, in all processes if they are as fast as this one.
    """
    rows: list[torch.Tensor] = []
    indices: list[torch.Tensor] = []
    done = 0
    processes = getattr(loader, "processes", 1)
    # What FSDP gathers in inference mode could not be trained on.
    quiet = torch.no_grad() if any(map(is_sharded, model.parameters())) else torch.inference_mode()
    with eval_mode(model), quiet:
        for inputs, targets, index in loader:
            kept = outcome(model(inputs.to(device)), targets.to(device))[: len(index)]
            rows.append((kept if kept.dtype == torch.float64 else kept.float()).cpu())
            indices.append(index.cpu())
            done += len(index) * processes
            if progress is not None:
                progress(done)
    order = gather(torch.cat(indices)).argsort()
    # Ordinary tensors from here on: those of inference mode can't be trained on.
    return gather(torch.cat(rows))[order].clone()


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    parameter = next(model.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
