"""A model whose parameters lie in parts on the processes (PyTorch's FSDP2), and its tensors as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from torchgraft.anatomy.unsharded import is_sharded, unsharded

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["in_parts_like", "shard", "whole", "whole_model", "whole_tensor"]

_UNIT = 1_000_000
"""Parameters of a block that are worth a message of their own."""


def shard(model: nn.Module, device: torch.device) -> None:
    """Spread the parameters over all processes, in place: each is a `DTensor` afterwards.

    Blocks of a list or sequence are gathered one at a time, when they are run, and let go afterwards.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for block in _blocks(model):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    # Also the rest is let go after each run: the model's own parameters are the parts at all times.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def whole(tensors: Mapping[str, torch.Tensor], *, keep: bool) -> dict[str, torch.Tensor]:
    """Whole copies on the CPU of tensors that may be in parts, one after the other; all processes call it.

    Args:
        tensors: By name, the same names everywhere.
        keep: Whether this process wants them; others get an empty dict.
    """
    found = {}
    for name, tensor in tensors.items():
        value = whole_tensor(tensor.detach())
        if keep:
            found[name] = value.to("cpu", copy=True)
    return found


def in_parts_like(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's part of a value that it has as a whole, if `like` is in parts."""
    if is_sharded(value) or not is_sharded(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    parted = cast("DTensor", like)
    return distribute_tensor(value.to(like.device), parted.device_mesh, parted.placements, src_data_rank=None)


def whole_model(model: nn.Module, *, keep: bool) -> nn.Module | None:
    """A copy of a model in parts that is whole, on the CPU; the model itself if it is whole already.

    All processes call it; `None` in those that don't want it.
    """
    if not any(is_sharded(parameter) for parameter in model.parameters()):
        return model if keep else None
    state = whole(model.state_dict(), keep=keep)
    if not keep:
        return None
    twin = unsharded(model).to_empty(device="cpu")
    twin.load_state_dict(state)
    for name, buffer in model.named_buffers():
        if name not in state:  # those that are not part of a state dict
            twin.get_buffer(name).copy_(buffer)
    return twin


def whole_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """With its gradient; all processes call it."""
    if not is_sharded(tensor):
        return tensor
    parted = cast("DTensor", tensor)
    there = cast("DTensor", parted.to(parted.device_mesh.device_type))
    return there.full_tensor()


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost entries of lists and sequences that are large; none where parameters are shared."""
    names = sum(1 for _ in model.named_parameters(remove_duplicate=False))
    if names != sum(1 for _ in model.parameters()):
        return []
    return list(_within(model))


def _within(module: nn.Module) -> Iterable[nn.Module]:
    for child in module.children():
        in_row = isinstance(module, (nn.ModuleList, nn.Sequential)) and type(child).forward is not _NO_FORWARD
        if in_row and sum(p.numel() for p in child.parameters()) >= _UNIT:
            yield child
        else:
            yield from _within(child)


_NO_FORWARD = nn.Module.forward
