"""What `config.json` says of where a run began, so that it can be asked for again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.model_info import info_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["beginning", "place"]


def place(path: str | os.PathLike[str]) -> str:
    """The path from the root, if there is something, since the next run may be asked for from elsewhere."""
    return str(Path(path).absolute()) if Path(path).exists() else os.fspath(path)


def beginning(
    model: nn.Module, data: object, val: object, command: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Model and data as plain data, and under `lacks` what of them no file can say.

    Args:
        model: As it was given, before it is adapted.
        data: To train on.
        val: To validate on, or a share.
        command: What the command line was told, which can do without the rest.
    """
    info = info_of(model)
    known = {
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "builder": info.builder,
        "builder_args": dict(info.builder_args),
        "surgery": [dict(step) for step in info.surgery],
        "weights": dict(info.weights),
    }
    lacks = []
    if command is None:
        if info.builder is None:
            lacks.append(f"the model: a {known['class']} that your code built")
        lacks += [
            f"the {name}: a {type(value).__name__}"
            for name, value in (("data", data), ("validation data", val))
            if not isinstance(value, (str, os.PathLike, int, float))
        ]
    return {
        "model": known,
        "data": place(data) if isinstance(data, (str, os.PathLike)) else type(data).__name__,
        "command": dict(command) if command is not None else None,
        "lacks": lacks,
    }
