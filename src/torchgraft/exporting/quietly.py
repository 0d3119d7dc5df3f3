"""Other libraries at work for us: their warnings, logs and progress bars concern nobody."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from torch import nn

__all__ = ["quietly", "without_cache", "without_progress"]

_LOGGERS = ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir", "timm", "transformers")


@contextmanager
def quietly() -> Iterator[None]:
    """Within the block nothing but errors is told. (`torch.export` prints the whole graph when it fails.)"""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def without_progress() -> Iterator[None]:
    """Within the block transformers draws no progress bars."""
    from transformers.utils import logging as theirs

    drawn = theirs.is_progress_bar_enabled()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            theirs.enable_progress_bar()


@contextmanager
def without_cache(model: nn.Module) -> Iterator[None]:
    """Within the block transformers' language models give no cache of keys and values: no graph holds one."""
    config: Any = getattr(model, "config", None)
    cached = getattr(config, "use_cache", None)
    if cached is not True:
        yield
        return
    with suppress(AttributeError):
        config.use_cache = False
    try:
        yield
    finally:
        with suppress(AttributeError):
            config.use_cache = True
