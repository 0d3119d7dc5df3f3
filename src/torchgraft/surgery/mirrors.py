"""Attributes in which models keep a copy of their layers' sizes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from torchgraft.anatomy.configs import kin
from torchgraft.surgery.edits import Edits

__all__ = ["HEAD_NAMES", "STEM_NAMES", "VOCABULARY_NAMES", "mirror"]

STEM_NAMES = ("in_chans", "in_chs", "in_channels", "num_channels", "stem_num_channels", "num_mel_bins")
HEAD_NAMES = ("num_classes", "num_labels", "n_classes", "output_num_channels", "out_features", "num_columns")
VOCABULARY_NAMES = ("vocab_size", "vocabulary_size", "n_vocab", "n_tokens", "num_tokens")


_NONE_YET = ("num_classes", "num_labels", "n_classes")
"""Names that say 0 in a model of features, whatever the size of these is."""


def mirror(model: nn.Module, path: str, names: tuple[str, ...], old: int, new: int, edits: Edits) -> None:
    """Update the sizes kept by the modules around a layer, and by their `config`, where they say `old`."""
    for owner in _around(model, path):
        for name in names:
            value = getattr(owner, name, None)
            if not isinstance(value, int) or isinstance(value, bool) or not _is_settable(owner, name):
                continue
            if value == old or (value == 0 and name in _NONE_YET and names is HEAD_NAMES):
                edits.attribute(owner, name, new)
        widths = getattr(owner, "stem_channels", None)  # HGNetV2's, of which the input's are the first
        if names is STEM_NAMES and isinstance(widths, list | tuple) and widths and widths[0] == old:
            edits.attribute(owner, "stem_channels", type(widths)((new, *widths[1:])))
        if names is STEM_NAMES and hasattr(owner, "model_args") and hasattr(owner, "architecture"):
            # The config of transformers' wrapper, which has no word for it but what timm is called with.
            edits.attribute(owner, "model_args", {**(owner.model_args or {}), "in_chans": new})


def _around(model: nn.Module, path: str) -> Iterator[object]:
    module: nn.Module = model
    configs: list[object] = []
    for part in path.split(".") if path else ():
        yield module
        config = getattr(module, "config", None)
        if config is not None and not any(config is other for other in configs):
            configs.append(config)
        module = getattr(module, part)
    yield from configs
    yield from kin(model, configs)


def _is_settable(owner: object, name: str) -> bool:
    on_class = getattr(type(owner), name, None)
    if isinstance(on_class, property):
        return on_class.fset is not None
    return name in vars(owner)
