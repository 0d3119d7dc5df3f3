"""Takes back whatever was done to a model's attributes when what follows fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from torchgraft.anatomy.configs import all_configs

__all__ = ["unchanged_on_error"]


@contextmanager
def unchanged_on_error(model: nn.Module) -> Iterator[None]:
    """On an error, every module and config has the attributes it had, and its registries hold what they held.

    Parameters and buffers themselves are not copied: what is written into them stays.
    """
    owners = [
        *model.modules(),
        *(one for one in all_configs(getattr(model, "config", None)) if one is not None),
    ]
    before = [(vars(owner), dict(vars(owner))) for owner in owners]
    held: list[tuple[Any, Any]] = [
        (value, value.copy())
        for _, attributes in before
        for value in attributes.values()
        if isinstance(value, dict | set)
    ]
    try:
        yield
    except BaseException:
        for live, attributes in before:
            live.clear()
            live.update(attributes)
        for collection, kept in held:
            collection.clear()
            collection.update(kept)
        raise
