"""What must hold before a plan writes anything, so that nothing fails half-way."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from torchgraft.anatomy.unsharded import is_sharded
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import CheckpointError, CoverageError, ModelError
from torchgraft.planning.plans import Plan
from torchgraft.planning.targets import Target, tensors_of

__all__ = ["check_checkpoint", "check_device", "check_gate", "check_model", "check_places"]


def check_gate(plan: Plan) -> None:
    """Refuse a plan that leaves a tensor fresh which nobody declared.

    Raises:
        CoverageError: It names the tensors and why each stays fresh.
    """
    refused = plan.undeclared
    if not refused:
        return
    shown = "\n".join(f"    {entry.name} {list(entry.shape)}: {entry.why}" for entry in refused[:8])
    more = f"\n    … and {len(refused) - 8} more" if len(refused) > 8 else ""
    notes = "".join(f"\n    note: {note}" for note in plan.notes)
    notes += "".join(f"\n    doubt: {doubt}" for doubt in plan.doubts)
    raise CoverageError(
        f"{len(refused)} of the model's {len(plan.targets)} tensors would stay untrained, "
        f"and nobody declared them as new\n{shown}{more}{notes}",
        where=f"{plan.model} ← {plan.checkpoint}",
        hint=f"where that is meant, declare it: allow_fresh={_declaration(plan)}; "
        "where names differ, say how: rename={'old.': 'new.'}",
    )


def check_model(plan: Plan, targets: Mapping[str, Target]) -> None:
    """Refuse a model that is no longer, or never was, the one the plan was made for.

    Raises:
        ModelError: A tensor is gone, new or of another shape.
    """
    for entry in plan.targets:
        target = targets.get(entry.name)
        if target is None or target.named.shape != entry.shape:
            now = "is gone" if target is None else f"has shape {list(target.named.shape)}"
            raise ModelError(
                f"the model has changed since the plan was made: it {now}, the plan says {list(entry.shape)}",
                where=entry.name,
                hint="make the plan again",
            )
    missing = targets.keys() - {entry.name for entry in plan.targets}
    if missing:
        raise ModelError(
            "the model has changed since the plan was made: this tensor is new",
            where=min(missing),
            hint="make the plan again",
        )


def check_checkpoint(plan: Plan, checkpoint: Checkpoint, targets: Mapping[str, Target]) -> None:
    """Refuse a checkpoint that does not hold what the plan takes from it.

    Raises:
        CheckpointError: A tensor is missing, or of another shape or kind.
    """
    for entry in plan.targets:
        if entry.status == "fresh" or entry.source is None:
            continue
        if entry.joined:
            wanted = [(p.source, p.source_shape) for p in entry.joined if p.source is not None]
        else:
            wanted = [(entry.source, entry.source_shape or ())]
        for key, shape in wanted:
            ref = checkpoint.get(key)
            if ref is not None and ref.shape == shape and targets[entry.name].takes(ref.dtype):
                continue
            now = "is not in the checkpoint" if ref is None else f"is {ref.dtype} {list(ref.shape)} there"
            raise CheckpointError(
                f"{now}, the plan says {entry.source_dtype} {list(shape)}",
                where=f"{key} → {entry.name}",
                hint="bind the plan to the checkpoint it was made for, or make it again",
            )


def check_device(device: torch.device | str | None) -> None:
    """Refuse a device that is not there.

    Raises:
        ModelError: It names it.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without CUDA
        raise ModelError(f"can't be put on device {str(device)!r}: {str(error)[:200]}") from error


def check_places(
    plan: Plan, model: nn.Module, targets: Mapping[str, Target], parts: Mapping[str, torch.Tensor]
) -> None:
    """Refuse tensors that can't be written to, or that would be left without values.

    Args:
        plan: What is to be done.
        model: The model.
        targets: Its tensors.
        parts: What this process holds of those that are spread over several.

    Raises:
        ModelError: It names the tensor.
    """
    for entry in plan.targets:
        target = targets[entry.name]
        if target.tied_to is not None:
            continue
        if entry.status != "fresh" and not target.tensor.is_meta:
            _check_writable(entry.name, parts.get(entry.name, target.tensor))
        if target.tensor.is_meta and (entry.status == "fresh" or any(op.needs_base for op in entry.ops)):
            kept = "would stay fresh" if entry.status == "fresh" else "would stay fresh in part"
            raise _without_values(entry.name, kept, sharded=is_sharded(target.tensor))
    filled = {id(target.tensor) for target in targets.values()}
    for module in model.modules():
        for attribute, tensor in tensors_of(module):
            if tensor.is_meta and id(tensor) not in filled:
                path = next(path for path, one in model.named_modules() if one is module)
                raise _without_values(
                    f"{path}.{attribute}" if path else attribute, "is not in the model's state dict"
                )


def _check_writable(name: str, tensor: torch.Tensor) -> None:
    repeated = not tensor.is_contiguous() and any(
        step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)
    )
    if repeated:
        raise ModelError(
            "is an expanded tensor, whose elements share memory, so it can't be written to",
            where=name,
            hint="register it as a tensor of its own: .expand(…).contiguous()",
        )
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise ModelError(
            "was made in inference mode, so it can't be written to",
            where=name,
            hint="make the model outside of torch.inference_mode(), or apply inside of it",
        )


def _without_values(name: str, why: str, *, sharded: bool = False) -> ModelError:
    return ModelError(
        f"{why}, but is on the meta device, where it has no values to keep",
        where=name,
        hint="give its module values first: module.to_empty(device=…), module.reset_parameters()"
        if sharded
        else "build the model off the meta device, or use torchgraft.create_model",
    )


def _declaration(plan: Plan) -> str:
    roles = {entry.role for entry in plan.undeclared}
    if "body" not in roles:
        return repr(sorted(roles)) if len(roles) > 1 else repr(roles.pop())
    parts = plan.undeclared_parts
    if len(parts) == 1:
        return repr(parts[0])
    return repr([*parts[:3], "…"] if len(parts) > 3 else list(parts))
