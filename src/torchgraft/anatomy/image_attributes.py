"""The image size that a model says it is built for, in the attributes where libraries keep it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from torchgraft.adapting import Op, PatchKernel, Positions
from torchgraft.anatomy.configs import all_configs
from torchgraft.model_info import info_of

__all__ = ["IMAGE_NAMES", "declared_image_sizes", "image_sizes_of", "size_of"]

IMAGE_NAMES = ("img_size", "image_size")
"""What timm, and torchvision and transformers, call it."""


def declared_image_sizes(model: nn.Module) -> Iterator[tuple[int, int]]:
    """Heights and widths, each once: what it was adapted to, then what the modules say, then the configs."""
    owners: list[object] = [*model.modules(), *all_configs(getattr(model, "config", None))]
    traits = getattr(model, "_traits", None)  # timm's
    said: list[object] = [step.get("image_size") for step in reversed(info_of(model).surgery)]
    said += [getattr(owner, name, None) for owner in owners for name in IMAGE_NAMES]
    said += [traits.get("img_size")] if isinstance(traits, dict) else []
    yield from dict.fromkeys(size for size in map(size_of, said) if size is not None)


def image_sizes_of(ops: Sequence[Op], model: nn.Module) -> tuple[tuple[int, int], ...]:
    """The sizes of images that resampled positions were for, if patches stay what they are.

    Args:
        ops: Those by which a model is filled.
        model: The model, which says its own size.
    """
    own = next(declared_image_sizes(model), None)
    if own is None or any(isinstance(op, PatchKernel) for op in ops):
        return ()
    sizes: dict[tuple[int, int], None] = {}
    for op in ops:
        if isinstance(op, Positions):
            pairs = ((own[0], op.source.rows, op.target.rows), (own[1], op.source.columns, op.target.columns))
            if all(side * old % new == 0 for side, old, new in pairs):
                rows, columns = (side * old // new for side, old, new in pairs)
                sizes[rows, columns] = None
    return tuple(sizes) if set(sizes) != {own} else ()


def size_of(value: object) -> tuple[int, int] | None:
    """The height and width that an attribute means; `None` if it means none."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return (value, value)
    if isinstance(value, tuple | list) and len(value) == 2:
        rows, columns = value
        if all(isinstance(side, int) and side > 0 for side in value):
            return (rows, columns)
    return None
