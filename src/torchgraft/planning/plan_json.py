"""A plan as JSON and back, so that it can be reviewed, kept beside a model and applied elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torchgraft.adapting import op_from_json
from torchgraft.errors import TorchgraftError
from torchgraft.planning.plans import Plan, SourceEntry, TargetEntry

__all__ = ["plan_from_json", "plan_to_json", "read_plan"]

_VERSION = 1


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Plain data: everything but the model and the checkpoint themselves."""
    return {
        "torchgraft_plan": _VERSION,
        "model": plan.model,
        "checkpoint": plan.checkpoint,
        "match": plan.match,
        "notes": list(plan.notes),
        "counts": plan.counts,
        "coverage": plan.coverage,
        "targets": [_entry_to_json(entry) for entry in plan.targets],
        "sources": [_entry_to_json(entry) for entry in plan.sources],
    }


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """The inverse of `plan_to_json`; the plan is not bound to a model."""
    if data.get("torchgraft_plan") != _VERSION:
        raise TorchgraftError(
            f"this is not a plan of version {_VERSION}: 'torchgraft_plan' is {data.get('torchgraft_plan')!r}",
            hint="make it with `torchgraft plan MODEL CHECKPOINT --save plan.json`",
        )
    try:
        return Plan(
            model=data["model"],
            checkpoint=data["checkpoint"],
            match=data["match"],
            notes=tuple(data["notes"]),
            targets=tuple(TargetEntry(**_entry_from_json(entry)) for entry in data["targets"]),
            sources=tuple(SourceEntry(**_entry_from_json(entry)) for entry in data["sources"]),
        )
    except (KeyError, TypeError) as error:
        raise TorchgraftError(f"the plan is damaged: {error}", hint="make it again") from error


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan file.

    Raises:
        TorchgraftError: It can't be read, or is not a plan.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TorchgraftError(f"can't be read as a plan: {error}", where=os.fspath(path)) from error
    if not isinstance(data, dict):
        raise TorchgraftError("is not a plan", where=os.fspath(path))
    return plan_from_json(data)


def _entry_to_json(entry: TargetEntry | SourceEntry) -> dict[str, Any]:
    data = {field.name: getattr(entry, field.name) for field in fields(entry)}
    for key in ("shape", "source_shape"):
        if data.get(key) is not None:
            data[key] = list(data[key])
    if "ops" in data:
        data["ops"] = [dict(op.to_json()) for op in data["ops"]]
    return data


def _entry_from_json(entry: Mapping[str, Any]) -> dict[str, Any]:
    data = dict(entry)
    for key in ("shape", "source_shape"):
        if data.get(key) is not None:
            data[key] = tuple(data[key])
    if "ops" in data:
        data["ops"] = tuple(op_from_json(op) for op in data["ops"])
    return data
