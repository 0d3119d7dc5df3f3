"""A loss that is no number: the batch that made it is kept, and the image named if one alone is to blame."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from torchgraft.errors import SaveError, TrainingError
from torchgraft.finetuning.outputs import eval_mode

__all__ = ["MicroBatch", "diverged"]


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """What the model saw at once: inputs and targets as they were trained on, and which images these are."""

    inputs: torch.Tensor
    targets: torch.Tensor
    indices: torch.Tensor


def diverged(
    batches: Sequence[MicroBatch],
    *,
    words: str,
    hint: str,
    names: Sequence[str],
    model: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    folder: Path | None,
) -> TrainingError:
    """The error to raise.

    Args:
        batches: Of the step that went wrong.
        words: What happened in which step.
        hint: What to do if no image is to blame.
        names: Of all images.
        model: Run on each image by itself.
        loss: Of inputs and targets.
        folder: Where to keep the batch: `batch.safetensors` and `batch.json`; or nowhere.
    """
    losses = [_alone(batch, model, loss) for batch in batches]
    each = [value for values in losses for value in values.tolist()]
    indices = [int(index) for batch in batches for index in batch.indices]
    bad = [index for index, value in zip(indices, each, strict=False) if not math.isfinite(value)]
    if bad and len(bad) < len(each):
        words += f"; {names[bad[0]]} gives no finite loss by itself"
        words += f", nor do {len(bad) - 1} more" if len(bad) > 1 else ""
        hint = "look at that image, or leave it out"
    if folder is not None:
        words += f"; the batch is kept in {folder}"
        _keep(folder, batches, losses, [names[index] for index in indices], words)
    return TrainingError(words, hint=hint)


def _alone(
    batch: MicroBatch, model: nn.Module, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """The loss of each image by itself, in evaluation mode."""
    rows = range(len(batch.indices))
    with eval_mode(model), torch.no_grad():
        found = [loss(batch.inputs[row : row + 1], batch.targets[row : row + 1]) for row in rows]
    return torch.stack(found).float().cpu() if found else torch.zeros(0)


def _keep(
    folder: Path,
    batches: Sequence[MicroBatch],
    losses: Sequence[torch.Tensor],
    names: Sequence[str],
    words: str,
) -> None:
    tensors = {
        "inputs": torch.cat([batch.inputs for batch in batches]),
        "targets": torch.cat([batch.targets for batch in batches]),
        "losses": torch.cat(list(losses)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            folder / "batch.safetensors",
        )
        (folder / "batch.json").write_text(
            json.dumps({"what": words, "images": list(names)}, indent=2, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
    except OSError as error:
        raise SaveError(f"the batch can't be kept: {error}", where=str(folder)) from error
