"""Config objects of a model, as transformers has them: what they say of its sizes and classes.

The library itself is not imported: objects with its attributes are treated alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from torchgraft.anatomy.sites import Site
from torchgraft.errors import AdaptError

__all__ = [
    "all_configs",
    "check_stated_channels",
    "finds_objects",
    "kin",
    "labels_in_config",
    "rows_beyond_labels",
]


def all_configs(config: object) -> list[Any]:
    """A config and those inside it, such as `backbone_config` and `vision_config`, outermost first."""
    found: list[Any] = []
    waiting = [config]
    while waiting:
        owner = waiting.pop(0)
        if not any(owner is other for other in found):
            found.append(owner)
            waiting.extend(value for value in getattr(owner, "__dict__", {}).values() if _is_config(value))
    return found


def kin(model: nn.Module, configs: Iterable[object]) -> list[Any]:
    """Configs inside the model's own of which these are copies, for a part may be built from a copy.

    Only the model's own is saved, so a size that the part's config says must be said there too.
    """
    given = list(configs)
    kinds = {type(config) for config in given}
    inside = all_configs(getattr(model, "config", None))[1:]
    return [
        config for config in inside if type(config) in kinds and not any(config is other for other in given)
    ]


def check_stated_channels(model: nn.Module, stems: Sequence[Site]) -> None:
    """Refuse stems for patches that the model is fed with, in which it isn't known how the channels lie.

    Raises:
        AdaptError: A `Linear` layer takes another number of values than its config says there are channels.
    """
    configs = all_configs(getattr(model, "config", None))
    stated = {getattr(config, "num_channels", None) for config in configs} - {None}
    for site in stems:
        if site.kind == "linear" and site.layout is None and stated and site.in_size not in stated:
            raise AdaptError(
                f"takes patches of {site.in_size} values, and it is not known how channels lie in them",
                where=f"stem {site.path!r}",
                hint=f'count as the stem does and name it: stem="{site.path}"',
            )


def labels_in_config(model: nn.Module) -> tuple[str, ...] | None:
    """The class names in the model's config, in order; `None` if it has none but `LABEL_0`, `LABEL_1`, …"""
    names = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return None
    labels = tuple(str(names[place]) for place in range(len(names)))
    return None if labels == tuple(f"LABEL_{place}" for place in range(len(labels))) else labels


def rows_beyond_labels(model: nn.Module, rows: int) -> int:
    """Rows of a head beyond the config's classes: 1 for the "no object" at the end of a detector's."""
    labels = getattr(getattr(model, "config", None), "num_labels", None)
    return 1 if isinstance(labels, int) and labels == rows - 1 and finds_objects(model) else 0


def finds_objects(model: nn.Module) -> bool:
    """Whether it looks for a fixed number of objects, some of which it won't find."""
    names = ("num_queries", "num_detection_tokens")
    configs = all_configs(getattr(model, "config", None))
    return any(isinstance(getattr(config, name, None), int) for config in configs for name in names)


def _is_config(value: object) -> bool:
    return hasattr(value, "to_dict") and hasattr(value, "model_type") and hasattr(value, "__dict__")
