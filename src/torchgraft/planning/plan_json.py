"""A plan as JSON and back, so that it can be reviewed, kept beside a model and applied elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from torchgraft.adapting import Role, op_from_json
from torchgraft.checkpoint import Scaling
from torchgraft.errors import AdaptError, CheckpointError
from torchgraft.matching import Part
from torchgraft.planning.entries import SourceEntry, TargetEntry, TargetStatus
from torchgraft.planning.plans import Plan

__all__ = ["plan_from_json", "plan_to_json", "read_plan"]

_VERSION = 2
_READ = (1, _VERSION)
"""The first version had no doubts, and no parts that are joined."""

_HINT = "check the path; a plan is what Plan.save or `torchgraft plan … --save` wrote"

_TYPES = {"name": str, "dtype": str, "why": str, "buffer": bool, "declared": bool}


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Plain data: everything but the model and the checkpoint themselves."""
    return {
        "torchgraft_plan": _VERSION,
        "model": plan.model,
        "checkpoint": plan.checkpoint,
        "match": plan.match,
        "notes": list(plan.notes),
        "doubts": list(plan.doubts),
        "counts": plan.counts,
        "coverage": plan.coverage,
        "targets": [_entry_to_json(entry) for entry in plan.targets],
        "sources": [_entry_to_json(entry) for entry in plan.sources],
    }


def plan_from_json(data: Mapping[str, Any], *, where: str | None = None) -> Plan:
    """The inverse of `plan_to_json`; the plan is not bound to a model.

    Args:
        data: What `plan_to_json` gave.
        where: The file it was read from, for messages.

    Raises:
        CheckpointError: It is no plan, or of another version, or damaged.
    """
    version = data.get("torchgraft_plan")
    if version not in _READ or isinstance(version, bool):
        raise CheckpointError(
            f"this is not a plan of version {_VERSION} or older: 'torchgraft_plan' is {version!r}",
            where=where,
            hint="make it with `torchgraft plan MODEL CHECKPOINT --save plan.json`",
        )
    try:
        return Plan(
            model=str(data["model"]),
            checkpoint=str(data["checkpoint"]),
            match=str(data["match"]),
            notes=tuple(map(str, data["notes"])),
            doubts=tuple(map(str, data["doubts"] if version > 1 else ())),
            targets=tuple(
                TargetEntry(**_entry_from_json(entry, get_args(TargetStatus))) for entry in data["targets"]
            ),
            sources=tuple(
                SourceEntry(**_entry_from_json(entry, ("used", "unused"))) for entry in data["sources"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, AdaptError) as error:
        raise CheckpointError(f"the plan is damaged: {error}", where=where, hint="make it again") from error


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan file.

    Raises:
        CheckpointError: It can't be read, or is not a plan.
    """
    where = os.fspath(path)
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise CheckpointError(f"can't be read as a plan: {why}", where=where, hint=_HINT) from error
    if not isinstance(data, dict):
        raise CheckpointError("is not a plan", where=where, hint=_HINT)
    return plan_from_json(data, where=where)


def _entry_to_json(entry: TargetEntry | SourceEntry) -> dict[str, Any]:
    data = {field.name: getattr(entry, field.name) for field in fields(entry)}
    for key in ("shape", "source_shape"):
        if data.get(key) is not None:
            data[key] = list(data[key])
    scaling = data.pop("scaling", None)
    if scaling is not None:
        data["scaling"] = scaling.to_json()
    if "ops" in data:
        data["ops"] = [dict(op.to_json()) for op in data["ops"]]
    if "joined" in data:
        data["joined"] = [
            {
                "source": part.source,
                "ops": [dict(op.to_json()) for op in part.ops],
                "source_shape": list(part.source_shape),
                "shape": list(part.shape),
            }
            for part in data["joined"]
        ]
    return data


def _entry_from_json(entry: Mapping[str, Any], statuses: tuple[str, ...]) -> dict[str, Any]:
    data = dict(entry)
    for key, kind in _TYPES.items():
        if key in data and not isinstance(data[key], kind):
            raise ValueError(f"{key!r} is {data[key]!r}")
    if data["status"] not in statuses:
        raise ValueError(f"there is no status {data['status']!r}")
    if "role" in data and data["role"] not in get_args(Role):
        raise ValueError(f"there is no role {data['role']!r}")
    if data["status"] in ("loaded", "adapted") and not isinstance(data["source"], str):
        raise ValueError(f"{data['name']!r} is {data['status']} from nowhere")
    for key in ("shape", "source_shape"):
        if data.get(key) is not None:
            data[key] = _shape(data[key])
    if data.get("scaling") is not None:
        data["scaling"] = Scaling.from_json(data["scaling"])
    if "ops" in data:
        data["ops"] = tuple(op_from_json(op) for op in data["ops"])
    if "joined" in data:
        data["joined"] = tuple(_part(part) for part in data["joined"])
    return data


def _part(data: Mapping[str, Any]) -> Part:
    source = data["source"]
    if not (source is None or isinstance(source, str)):
        raise ValueError(f"{source!r} is no name")
    ops = tuple(op_from_json(op) for op in data["ops"])
    return Part(source, ops, _shape(data["source_shape"]), _shape(data["shape"]))


def _shape(sizes: object) -> tuple[int, ...]:
    if isinstance(sizes, list) and all(isinstance(size, int) and size >= 0 for size in sizes):
        return tuple(sizes)
    raise ValueError(f"{sizes!r} is no shape")
