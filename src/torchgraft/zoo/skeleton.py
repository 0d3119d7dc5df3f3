"""Models built without values, so that nothing is initialised only to be overwritten.

A constructor run under `torch.device("meta")` allocates and fills nothing. That is only as good as a real
run if the checkpoint then brings a value for everything: a model that computes tables in its constructor
and does not save them (non-persistent buffers, plain tensor attributes), or that asks for a tensor's value
on the way, is built for real instead.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["has_unsaved_tensors", "skeleton"]

_log = logging.getLogger(__name__)


def skeleton(build: Callable[[], nn.Module]) -> nn.Module | None:
    """What `build` gives, on the meta device; `None` if it can't be built there."""
    try:
        with torch.device("meta"), _NoFills(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # constructors copy into meta tensors, which warns and does nothing
            model = build()
    except Exception:  # any constructor may fail on tensors without values, in its own way
        _log.debug("can't be built on the meta device", exc_info=True)
        return None
    if any(not tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        return None  # a part was put on a device of its own choice: half a skeleton is no use
    return model


_FILLS = frozenset(
    getattr(torch.Tensor, name)
    for name in ("normal_", "uniform_", "zero_", "fill_", "erfinv_", "mul_", "add_", "clamp_")
)
"""What initialisations are made of."""


class _NoFills(TorchFunctionMode):
    """Leaves out what would fill a tensor that has no values: most of the time a constructor takes."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _FILLS and args[0].is_meta and not any(isinstance(arg, torch.Tensor) for arg in args[1:]):
            return args[0]
        return func(*args, **(kwargs or {}))


def has_unsaved_tensors(model: nn.Module) -> bool:
    """Whether the model holds tensors that its state dict leaves out, which a checkpoint can't bring."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    if any(id(buffer) not in saved for buffer in model.buffers()):
        return True
    return any(
        _holds_tensor(value)
        for module in model.modules()
        for name, value in vars(module).items()
        if name not in ("_parameters", "_buffers", "_modules")
    )


_PLAIN = frozenset((bool, int, float, str, torch.dtype))
"""What most attributes are."""


def _holds_tensor(value: object) -> bool:
    if value is None or type(value) in _PLAIN:
        return False
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, dict):
        return _any_tensor(value.values())
    if isinstance(value, (list, tuple, set)):
        return _any_tensor(value)
    return False


def _any_tensor(values: Iterable[object]) -> bool:
    return any(_holds_tensor(value) for value in values)
