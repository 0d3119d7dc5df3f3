"""Run a model over images and collect what comes out, in the images' order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from torchgraft.finetuning.outputs import eval_mode, logits_of

__all__ = ["class_scores", "device_of", "score"]


def score(
    model: nn.Module,
    loader: DataLoader[Any],
    outcome: Callable[[object], torch.Tensor],
    *,
    device: torch.device,
    gather: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """`outcome(model(batch))` for every image, on the CPU, rows in the order of the data set.

    Args:
        model: Runs in evaluation mode, without gradients, and is left in the mode it was in.
        loader: Gives (inputs, labels, indices); the indices put the rows in order.
        outcome: What to keep of a batch's output: a tensor with a row an image.
        device: Where the model is.
        gather: Collects the rows of all processes.
        progress: Called with the number of images done.
    """
    rows: list[torch.Tensor] = []
    indices: list[torch.Tensor] = []
    done = 0
    with eval_mode(model), torch.inference_mode():
        for inputs, _, index in loader:
            kept = outcome(model(inputs.to(device)))
            rows.append(gather(kept).float().cpu())
            indices.append(gather(index.to(device)).cpu())
            done += len(indices[-1])
            if progress is not None:
                progress(done)
    order = torch.cat(indices).argsort()
    # Ordinary tensors from here on: those of inference mode can't be trained on.
    return torch.cat(rows)[order].clone()


def class_scores(
    model: nn.Module,
    loader: DataLoader[Any],
    *,
    device: torch.device,
    gather: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Probabilities (images, classes), float32."""
    logits = score(model, loader, logits_of, device=device, gather=gather, progress=progress)
    return logits.softmax(dim=1)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    parameter = next(model.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
