"""In which order a model flattens the patches of an image for its first `Linear`: read off a run."""

from __future__ import annotations

import logging
from itertools import permutations
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.example_inputs import floating_input, guesses, replaced
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["patch_orders"]

_log = logging.getLogger(__name__)


class _SeenError(Exception):
    """Ends a run of which no more is wanted."""


def patch_orders(model: nn.Module, example: object = None) -> dict[str, tuple[int, int, int]]:
    """For each `Linear` that sees the pixels of patches, by its weight's name: the order of their axes.

    Args:
        model: Left as it was. It is run on its own device, up to the layer.
        example: An image that it takes; guessed if not given.

    Returns:
        Which of channels (0), rows (1) and columns (2) varies slowest, next and fastest. Empty where there
        is no such layer, or something is computed before it.
    """
    layers = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and not module.weight.is_meta
    }
    found: dict[str, tuple[int, int, int]] = {}
    for attempt in [example] if example is not None else guesses(model):
        image = floating_input(attempt)
        if image is None or image.ndim != 4 or image.shape[0] != 1 or image.is_meta:
            continue
        side = {path: _side(layer.in_features, image.shape) for path, layer in layers.items()}
        for path, layer in layers.items():
            order = _order(model, layer, image, side[path], attempt) if side[path] else None
            if order is not None:
                found[f"{path}.weight" if path else "weight"] = order
        if found or any(side.values()):
            return found
    return found


def _side(features: int, shape: torch.Size) -> int:
    """The side of a square patch of so many features; 0 if there is none."""
    pixels, rest = divmod(features, shape[1])
    side = round(pixels**0.5)
    return side if not rest and side > 1 and side * side == pixels and side <= min(shape[2:]) else 0


def _order(
    model: nn.Module, layer: nn.Linear, image: torch.Tensor, side: int, example: object
) -> tuple[int, int, int] | None:
    counting = torch.arange(image.numel(), dtype=torch.float64).reshape(image.shape)
    patch = counting[0, :, :side, :side]
    seen: list[torch.Tensor] = []

    def look(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(args[0].detach())
        raise _SeenError

    if image.numel() >= 1 << 24:
        return None  # float32 does not count so far
    with undisturbed(model):
        handle = layer.register_forward_pre_hook(look)
        try:
            model(replaced(example, counting.to(image.dtype).to(image.device)))
        except _SeenError:
            pass
        except Exception:  # somebody else's model may raise anything
            _log.debug("the model does not run on an image that counts", exc_info=True)
        finally:
            handle.remove()
    if not seen:
        return None
    first = seen[0].reshape(-1, layer.in_features)[0].double().cpu()
    for order in permutations(range(3)):
        if torch.equal(patch.permute(order).reshape(-1), first):
            return order  # type: ignore[return-value]  # a permutation of three
    return None
