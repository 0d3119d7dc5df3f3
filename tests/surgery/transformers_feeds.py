"""What transformers' models are fed with: two samples, and targets for their own loss."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from surgery.transformers_models import CTC, DETECTION, TEXT, VISION

__all__ = ["inputs_for", "labels_for"]

_MASKS = (
    "MaskFormerForInstanceSegmentation",
    "Mask2FormerForUniversalSegmentation",
    "EomtForUniversalSegmentation",
)


def inputs_for(name: str, model: nn.Module, channels: int) -> dict[str, torch.Tensor]:
    """Two samples of what such a model is fed with."""
    if name == "ImageGPTForImageClassification":
        return {"input_ids": torch.randint(0, 29, (2, 16))}
    if name == "Siglip2ForImageClassification":
        return {
            "pixel_values": torch.rand(2, 16, 192),
            "pixel_attention_mask": torch.ones(2, 16, dtype=torch.long),
            "spatial_shapes": torch.tensor([[4, 4], [2, 8]]),
        }
    if name in VISION or name in DETECTION:
        return {model.main_input_name: torch.rand(_image_shape(name, model.config, channels))}
    if name in TEXT:
        ids = torch.randint(4, 50, (2, 12))
        end = getattr(model.config, "eos_token_id", None)
        if isinstance(end, int) and end < 50:
            ids[ids == end] = 5 if end != 5 else 6
            ids[:, -1] = end
        return {model.main_input_name: ids}
    shape = {
        "ASTForAudioClassification": (2, 64, 32),
        "WhisperForAudioClassification": (2, 16, 128),
        "Wav2Vec2BertForSequenceClassification": (2, 40, 160),
    }.get(name, (2, 3200))
    return {model.main_input_name: torch.rand(shape)}


def labels_for(name: str, model: nn.Module, classes: int) -> dict[str, Any]:
    """Targets of as many classes, with which the model computes its own loss; none if it has no loss."""
    if "labels" not in inspect.signature(model.forward).parameters and name not in _MASKS:
        return {}
    last = torch.tensor([classes - 1, 0])
    if name in _MASKS:
        masks = torch.zeros(2, 64, 64)
        masks[:, :20, :20] = 1
        return {"mask_labels": [masks, masks], "class_labels": [last, last]}
    if name in DETECTION:
        boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.3, 0.3, 0.1, 0.1]])
        return {"labels": [{"class_labels": last, "boxes": boxes} for _ in range(2)]}
    if name.endswith("SemanticSegmentation"):
        side = _image_shape(name, model.config, 3)[-1]
        return {"labels": torch.randint(0, classes, (2, side, side))}
    if name.endswith("TokenClassification"):
        return {"labels": torch.randint(0, classes, (2, 12))}
    if name in CTC:
        return {"labels": torch.randint(1, classes, (2, 5))}
    if name == "Wav2Vec2ForAudioFrameClassification":
        frames = int(model._get_feat_extract_output_lengths(torch.tensor(3200)))
        return {"labels": nn.functional.one_hot(torch.randint(0, classes, (2, frames)), classes)}
    return {"labels": last}


def _image_shape(name: str, config: Any, channels: int) -> tuple[int, ...]:
    if name.startswith("Mask"):
        return 2, channels, 64, 64
    size = getattr(getattr(config, "vision_config", config), "image_size", None) or 64
    side = size[0] if isinstance(size, (list, tuple)) else size
    if not name.endswith("VideoClassification"):
        return 2, channels, side, side
    if name == "VJEPA2ForVideoClassification":
        return 2, config.frames_per_clip, channels, config.crop_size, config.crop_size
    return 2, config.num_frames, channels, side, side
