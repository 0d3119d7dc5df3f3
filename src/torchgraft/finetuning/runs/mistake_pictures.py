"""Small pictures of the images that a model is most wrong about, kept in the run folder for its page."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from torchgraft.errors import TorchgraftError
from torchgraft.finetuning.inputs.input_tensor import evaluation_pixels, normalised
from torchgraft.finetuning.runs.saliency import saliency
from torchgraft.finetuning.scoring import device_of
from torchgraft.storage.atomic import atomic_file, write_text_atomic

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.finetuning.evaluations import AnyEvaluation
    from torchgraft.finetuning.images.image_set import Images
    from torchgraft.model_info import Preprocessing

__all__ = ["write_mistakes"]

_log = logging.getLogger(__name__)

_MOST = 12
_SIDE = 192  # pixels
_QUALITY = 80
_DIMMED = 0.2  # what is left of the light where the answer doesn't depend on
_BUDGET = 20.0  # seconds


def write_mistakes(
    folder: Path,
    model: nn.Module,
    images: Images,
    evaluation: AnyEvaluation,
    how: Preprocessing,
    *,
    epoch: int,
    budget: float = _BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Write the worst mistakes as the model saw them, and what of each decided, as long as there is time.

    Args:
        folder: The run's; the pictures go to `mistakes/` in it.
        model: Whose mistakes they are.
        images: Those that were evaluated.
        evaluation: Says which are the worst.
        how: How an image becomes an input.
        epoch: Which epoch's weights the model has.
        budget: Seconds; what was not done by then is left out.
        clock: Tells the time, in seconds.

    Raises:
        SaveError: The folder can't be written to.
    """
    target = folder / "mistakes"
    target.mkdir(exist_ok=True)
    pictures: dict[str, dict[str, str]] = {}
    late = clock() + budget
    decided = evaluation.to_json().get("task") != "segmentation"
    for mistake in evaluation.mistakes[:_MOST]:
        if clock() > late:
            break
        try:
            pixels = evaluation_pixels(images.image(mistake.index, how.channels), how)
        except TorchgraftError as error:  # it was there when it was evaluated, and isn't now
            _log.debug("no picture of %s: %s", mistake.name, error)
            continue
        files = {"picture": _write(target / f"{mistake.index}.jpg", _colours(pixels))}
        if decided and clock() <= late and (light := _light(model, normalised(pixels, how))) is not None:
            lit = _colours(pixels) * (_DIMMED + (1 - _DIMMED) * light)
            files["saliency"] = _write(target / f"{mistake.index}-saliency.jpg", lit)
        pictures[str(mistake.index)] = files
    write_text_atomic(target / "mistakes.json", json.dumps({"epoch": epoch, "pictures": pictures}) + "\n")


def _light(model: nn.Module, image: torch.Tensor) -> torch.Tensor | None:
    try:
        return saliency(model, image.to(device_of(model)))
    except (TorchgraftError, RuntimeError) as error:  # not every model has gradients
        _log.debug("no saliency: %s", error)
        return None


def _colours(pixels: torch.Tensor) -> torch.Tensor:
    """Three channels, 0 to 1; of many channels the first three."""
    shown = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    return shown[:3] if len(shown) >= 3 else shown[:1].expand(3, -1, -1)


def _write(path: Path, pixels: torch.Tensor) -> str:
    from PIL import Image

    array = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    picture: Any = Image.fromarray(array)
    picture.thumbnail((_SIDE, _SIDE))
    with atomic_file(path) as file:
        picture.save(file, "JPEG", quality=_QUALITY)
    return path.name
