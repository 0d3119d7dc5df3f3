"""Guesses at an input of a transformers model, from its `config` and `main_input_name`.

The library itself is not imported: whatever has these two attributes is asked in the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.configs import all_configs

__all__ = ["transformers_guesses"]

_SIDES = (64, 224)
_TOKENS = 16
_SAMPLES = 16000
_FRAMES = 128
_CHOICES = 2
_CHANNELS = ("num_channels", "in_channels", "in_chans", "stem_num_channels")


def transformers_guesses(model: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Keyword arguments to try, likeliest first; none for models of other libraries."""
    name, config = getattr(model, "main_input_name", None), getattr(model, "config", None)
    if not isinstance(name, str) or config is None:
        return
    like = next((held for held in model.parameters() if held.is_floating_point()), torch.empty(0))
    if name == "input_ids":
        takes = inspect.signature(model.forward).parameters
        for text in _texts(config, like):
            # Without a mask many models look for padding in the ids, which have no values on the meta device.
            masked = "attention_mask" in takes
            yield text | ({"attention_mask": torch.ones_like(text["input_ids"])} if masked else {})
        return
    if name == "pixel_values":
        yield from _patches(config, like)
    shapes = {"input_values": _signals, "input_features": _spectrograms}.get(name, _images)
    for shape in shapes(config):
        yield {name: _values(shape, like)}
    if name == "inputs":  # Perceiver's, which may be of any kind
        yield from ({name: ids} for ids in _token_ids(config, like.device))


def _texts(config: Any, like: torch.Tensor) -> Iterator[dict[str, torch.Tensor]]:
    for ids in _token_ids(config, like.device):
        yield {"input_ids": ids}
        if getattr(config, "is_encoder_decoder", False):
            yield {"input_ids": ids, "decoder_input_ids": ids}
        if hasattr(config, "vision_config"):
            for shape in _images(config):
                yield {"input_ids": ids, "pixel_values": _values(shape, like)}


def _token_ids(config: Any, device: torch.device) -> Iterator[torch.Tensor]:
    """Ids that are no special ones, but for an end-of-sequence: some heads read their features there."""
    ids_of = {name: value for name, value in vars(config).items() if name.endswith("_token_id")}
    special = {value for value in ids_of.values() if isinstance(value, int)}
    vocabulary = _first_size(config, "vocab_size") or _TOKENS
    longest = _first_size(config, "max_position_embeddings", "n_positions") or _TOKENS
    plain = [number for number in range(min(vocabulary, 4 * _TOKENS)) if number not in special] or [0]
    ids = [plain[place % len(plain)] for place in range(max(1, min(_TOKENS, longest - 2)))]
    end = ids_of.get("eos_token_id")
    if isinstance(end, int) and 0 <= end < vocabulary:
        ids[-1] = end
    tokens = torch.tensor([ids], device=device)
    yield tokens
    yield tokens.expand(_CHOICES, -1)[None]  # batch, choices, tokens


def _values(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0), device="cpu")
    return values.to(device=like.device, dtype=like.dtype)


def _images(config: Any) -> Iterator[tuple[int, ...]]:
    channels = _first_size(config, *_CHANNELS) or 3
    frames = _first_size(config, "num_frames", "frames_per_clip")
    for height, width in _image_sizes(config):
        if frames:
            yield 1, frames, channels, height, width
        yield 1, channels, height, width


def _patches(config: Any, like: torch.Tensor) -> Iterator[dict[str, torch.Tensor]]:
    """Images that come in patches, with their number along each side, as SigLIP 2 has them."""
    patches, side = _first_size(config, "num_patches"), _first_size(config, "patch_size")
    if patches and side:
        values = (_first_size(config, *_CHANNELS) or 3) * side * side
        yield {
            "pixel_values": _values((1, patches, values), like),
            "pixel_attention_mask": torch.ones(1, patches, dtype=torch.long, device=like.device),
            "spatial_shapes": torch.tensor([[1, patches]], device=like.device),
        }


def _image_sizes(config: Any) -> Iterator[tuple[int, int]]:
    for owner in all_configs(config):
        for name in ("image_size", "crop_size"):
            size: Any = getattr(owner, name, None)
            if isinstance(size, Mapping):
                size = [size.get("height"), size.get("width")]
            sides = list(size) if isinstance(size, tuple | list) else [size, size]
            if len(sides) == 2 and all(map(_is_size, sides)):
                yield sides[0], sides[1]
    for side in _SIDES:
        yield side, side


def _signals(config: Any) -> Iterator[tuple[int, ...]]:
    bins = _first_size(config, "num_mel_bins")
    if bins:
        yield 1, _first_size(config, "max_length") or 1024, bins
    yield 1, _SAMPLES


def _spectrograms(config: Any) -> Iterator[tuple[int, ...]]:
    bins = _first_size(config, "num_mel_bins", "feature_projection_input_dim", "input_feat_per_channel")
    positions = _first_size(config, "max_source_positions")
    if bins and positions:
        yield 1, bins, 2 * positions  # Whisper's first layers halve the time
    if bins:
        yield 1, _FRAMES, bins


def _first_size(config: Any, *names: str) -> int | None:
    values: list[Any] = [getattr(owner, name, None) for owner in all_configs(config) for name in names]
    return next((value for value in values if _is_size(value)), None)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
