"""What of an image a model's answer depends on."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from torchgraft.finetuning.outputs import eval_mode, logits_of

__all__ = ["saliency"]

_SAMPLES = 4
_NOISE = 0.1  # of the input's range, as in SmoothGrad
_BLUR = 16  # the blur's width is this part of the image's
_BRIGHTEST = 0.99  # quantile that counts as 1, so that one pixel doesn't darken all others


def saliency(model: nn.Module, image: torch.Tensor, *, seed: int = 0) -> torch.Tensor | None:
    """Gradient × input of the greatest output, over noisy copies, blurred: (height, width), 0 to 1.

    After Simonyan et al. 2014 (gradients), Shrikumar et al. 2017 (times the input) and Smilkov et al. 2017
    (SmoothGrad). It is cheap, four times forward and backward, and a hint only.

    Args:
        model: Runs in evaluation mode, and is left in the mode it was in; no gradient is left on it.
        image: (channels, height, width), as the model's input.
        seed: Of the noise.

    Returns:
        `None` where the outputs aren't (1, numbers), no gradient reaches the image, or it is the same
        everywhere.
    """
    noise = torch.Generator().manual_seed(seed)
    spread = float(image.max() - image.min()) * _NOISE
    total = torch.zeros(image.shape[1:])
    with eval_mode(model), torch.enable_grad():
        answer: int | None = None
        for sample in range(_SAMPLES):
            varied = image if sample == 0 else image + spread * _normal(image, noise)
            inputs = varied[None].detach().requires_grad_(True)
            outputs = logits_of(model(inputs))
            if answer is None:
                answer = int(outputs[0].argmax())
            if not outputs.requires_grad:
                return None
            gradient: torch.Tensor | None = torch.autograd.grad(
                outputs[0, answer], inputs, allow_unused=True
            )[0]
            if gradient is None:
                return None
            total += (gradient * inputs).detach()[0].abs().sum(0).float().cpu()
    return _shown(total)


def _normal(image: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    return torch.randn(image.shape, generator=noise).to(image)


def _shown(total: torch.Tensor) -> torch.Tensor | None:
    """Blurred, and stretched to 0 to 1."""
    width = max(3, min(total.shape) // _BLUR | 1)
    smooth = total[None, None]
    for _ in range(2):
        smooth = functional.avg_pool2d(smooth, width, stride=1, padding=width // 2, count_include_pad=False)
    low, high = smooth.min(), smooth.flatten().quantile(_BRIGHTEST)
    if not bool(torch.isfinite(high)) or high <= low:
        return None
    return ((smooth[0, 0] - low) / (high - low)).clamp(0, 1)
