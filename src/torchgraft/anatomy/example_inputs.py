"""Guesses at an input that a model takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.image_attributes import declared_image_sizes
from torchgraft.anatomy.sites import Site, matrix_layers, site_at
from torchgraft.anatomy.transformers_inputs import transformers_guesses
from torchgraft.model_info import info_of

__all__ = ["floating_input", "guesses", "replaced", "reshaped"]

_IMAGE_SIDES = (224, 256, 299, 384, 64, 32, 28)
_CLIPS = ((16, 112, 112), (16, 224, 224), (32, 32, 32))
_SIGNALS = (16384, 1024, 128)
_TOKENS = 16


def guesses(model: nn.Module) -> Iterator[Any]:
    """Inputs to try, likeliest first: what the model says it wants, then what its first layers take."""
    yield from transformers_guesses(model)
    yield from _tensors(model)
    inputs = _inputs_needed(model)
    if inputs > 1:  # such as the two images between which something moves
        yield from ((tensor,) * inputs for tensor in _tensors(model))


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    floating = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    first = floating[0] if floating else torch.empty(0)
    tried: set[tuple[int, ...]] = set()
    for shape, whole in _shapes(model):
        if shape not in tried:
            tried.add(shape)
            if whole:
                yield torch.ones(shape, dtype=torch.long, device=first.device)
            else:
                yield _random(torch.empty(shape, dtype=first.dtype, device="meta"), first.device)


def floating_input(example: object) -> torch.Tensor | None:
    """The example's one floating-point tensor, be it there twice; `None` if it has not just one."""
    if isinstance(example, Mapping):
        example = tuple(example.values())
    values = example if isinstance(example, tuple | list) else (example,)
    tensors = {id(value): value for value in values if isinstance(value, torch.Tensor)}
    floating = [value for value in tensors.values() if value.is_floating_point()]
    return floating[0] if len(floating) == 1 else None


def reshaped(example: object, dim: int, size: int) -> object:
    """The example with its one floating-point tensor of another size along `dim`."""
    tensor = floating_input(example)
    assert tensor is not None
    shape = list(tensor.shape)
    shape[dim] = size
    new = _random(torch.empty(shape, dtype=tensor.dtype, device="meta"), tensor.device)
    return replaced(example, new)


def replaced(example: object, new: torch.Tensor) -> object:
    """The example with another tensor in the place of its one floating-point tensor."""
    tensor = floating_input(example)

    def swapped(value: object) -> object:
        return new if value is tensor else value

    if isinstance(example, Mapping):
        return {key: swapped(value) for key, value in example.items()}
    if isinstance(example, tuple | list):
        return tuple(map(swapped, example))
    return new


def _inputs_needed(model: nn.Module) -> int:
    """How many arguments the model can't do without."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in kinds and each.default is each.empty for each in parameters)


def _random(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Uniform random numbers of the tensor's shape and dtype; the global generator is left alone."""
    if device.type == "meta":
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(tensor.shape, generator=generator).to(device=device, dtype=tensor.dtype)


def _shapes(model: nn.Module) -> Iterator[tuple[tuple[int, ...], bool]]:
    yield from ((shape, False) for shape in _built_for(model))
    preprocessing = info_of(model).preprocessing
    if preprocessing is not None:
        yield (1, preprocessing.channels, *preprocessing.size), False
    for name in ("pretrained_cfg", "default_cfg"):  # timm's
        size = getattr(getattr(model, name, None), "get", lambda _: None)("input_size")
        if isinstance(size, tuple | list) and len(size) == 3:
            channels = getattr(model, "in_chans", None)  # the config tells those of the published weights
            if isinstance(channels, int) and channels > 0:
                yield (1, channels, *size[1:]), False
            yield (1, *size), False
    kinds: set[str] = set()
    for path, module in matrix_layers(model):
        site = site_at(path, module)
        if site.kind not in kinds:
            kinds.add(site.kind)
            for shape in _shapes_for(site, module):
                yield shape, site.kind == "embedding"


def _built_for(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Images of the size that a model's modules or config name, if there are any."""
    sizes = list(declared_image_sizes(model))
    if not sizes:
        return
    for path, module in matrix_layers(model):
        site = site_at(path, module)
        if site.kind == "conv" and len(getattr(module, "kernel_size", ())) == 2:
            yield from ((1, site.in_size, *size) for size in sizes)
            return


def _shapes_for(site: Site, module: nn.Module) -> Iterator[tuple[int, ...]]:
    if site.kind in ("linear", "recurrent"):
        yield (1, site.in_size)
        yield (1, _TOKENS, site.in_size)
        for channels in (3, 1, 4):  # a layer that takes flattened patches of an image
            patch = math.isqrt(site.in_size // channels)
            if patch > 1 and channels * patch * patch == site.in_size:
                yield from ((1, channels, side, side) for side in _IMAGE_SIDES)
    elif site.kind == "embedding":
        yield (1, _TOKENS)
    elif site.kind in ("conv", "conv-transpose"):
        dims = len(getattr(module, "kernel_size", (0, 0)))
        if dims == 2:
            yield from ((1, site.in_size, side, side) for side in _IMAGE_SIDES)
        elif dims == 3:
            yield from ((1, site.in_size, *clip) for clip in _CLIPS)
        elif dims == 1:
            yield from ((1, site.in_size, length) for length in _SIGNALS)
