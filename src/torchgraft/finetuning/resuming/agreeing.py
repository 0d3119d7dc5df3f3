"""Whether what is asked for is the run that a folder holds, so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torchgraft.errors import TrainingError

__all__ = ["MAY_DIFFER", "check_same", "plain_arguments"]

MAY_DIFFER = ("workers", "feature_cache", "checkpoint_every", "track", "on_event", "compile", "shard")
"""Arguments that change how a run goes, and not what comes of it."""

_ABSENT = "nothing"


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """As a JSON file gives them back."""
    return dict(json.loads(json.dumps(arguments, default=repr)))


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], *, where: str) -> None:
    """Compare a run's `arguments`, `data` and `model` with those of the one that would go on.

    Raises:
        TrainingError: They differ; it names how.
    """
    old, new = before.get("arguments", {}), plain_arguments(now["arguments"])
    differing = [
        f"{name}={new.get(name, _ABSENT)!r} instead of {old.get(name, _ABSENT)!r}"
        for name in {**old, **new}
        if name not in MAY_DIFFER and old.get(name) != new.get(name)
    ]
    was, is_now = before.get("fingerprints", {}), now["fingerprints"]
    differing += [
        f"other {words}"
        for key, words in (
            ("train", "training images"),
            ("val", "validation images"),
            ("model", "weights to start from"),
        )
        if was.get(key) != is_now[key]
    ]
    if differing:
        raise TrainingError(
            f"the run can't go on with {'; '.join(differing)}",
            where=where,
            hint="give the same arguments and data, or start a new run in another folder",
        )
