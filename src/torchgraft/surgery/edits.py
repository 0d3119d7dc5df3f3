"""Changes to modules that are made together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

__all__ = ["Edits"]

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass
class Edits:
    """New parameters and attributes, collected first and made at the end."""

    _waiting: list[tuple[Any, str, Any]] = field(default_factory=list)

    def parameter(self, module: nn.Module, name: str, value: torch.Tensor) -> nn.Parameter:
        """A parameter gets a new tensor, returned; its class, attributes and memory layout stay."""
        old = getattr(module, name)
        new = nn.Parameter(_laid_out_like(value.detach(), old), requires_grad=old.requires_grad)
        if type(old) is not nn.Parameter and type(old.data) is torch.Tensor:
            new = torch.Tensor._make_subclass(type(old), new.data, old.requires_grad)  # noqa: SLF001  # no public way keeps the class
        vars(new).update(vars(old))
        self._waiting.append((module, name, new))
        return new

    def attribute(self, owner: object, name: str, value: object) -> None:
        """An attribute gets a new value."""
        self._waiting.append((owner, name, value))

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make them; on an error within, all are taken back."""
        before = [(owner, name, getattr(owner, name), dict(vars(owner))) for owner, name, _ in self._waiting]
        try:
            for owner, name, value in self._waiting:
                setattr(owner, name, value)
            yield
        except BaseException:
            for owner, name, value, attributes in before:
                if isinstance(owner, nn.Module):
                    setattr(owner, name, value)
                else:  # a config, whose one attribute may stand for several
                    vars(owner).update(attributes)
            raise


def _laid_out_like(value: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    layout = _CHANNELS_LAST.get(old.ndim)
    if layout is not None and old.is_contiguous(memory_format=layout) and not old.is_contiguous():
        return value.contiguous(memory_format=layout)
    return value.contiguous()
