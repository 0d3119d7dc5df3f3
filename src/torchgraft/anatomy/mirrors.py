"""Attributes in which models keep a copy of their layers' sizes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from torchgraft.anatomy.edits import Edits

__all__ = ["HEAD_NAMES", "STEM_NAMES", "mirror"]

STEM_NAMES = ("in_chans", "in_channels", "num_channels")
HEAD_NAMES = ("num_classes", "num_labels", "n_classes")


def mirror(model: nn.Module, path: str, names: tuple[str, ...], old: int, new: int, edits: Edits) -> None:
    """Update the sizes kept by the modules around a layer, and by their `config`, where they say `old`."""
    for owner in _around(model, path):
        for name in names:
            value = getattr(owner, name, None)
            if isinstance(value, int) and value == old and _is_settable(owner, name):
                edits.attribute(owner, name, new)


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


def _is_settable(owner: object, name: str) -> bool:
    on_class = getattr(type(owner), name, None)
    if isinstance(on_class, property):
        return on_class.fset is not None
    return name in vars(owner)
