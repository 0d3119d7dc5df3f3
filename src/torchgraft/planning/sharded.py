"""Tensors of a model of which this process holds a part: where that part is in the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchgraft.anatomy.unsharded import is_sharded
from torchgraft.errors import CheckpointError, ModelError
from torchgraft.planning.local_slices import Box, shape_of
from torchgraft.planning.targets import Target

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["Shard", "refuse_shards", "shards_of"]


@dataclass(frozen=True, slots=True)
class Shard:
    """This process's part of a tensor.

    Attributes:
        whole: The tensor, as the model has it.
        local: The part: memory of this process.
        box: Where it is in the whole; `None` for an empty part.
    """

    whole: DTensor
    local: torch.Tensor
    box: Box | None

    @property
    def device(self) -> str:
        """Where the part belongs, if nobody says otherwise."""
        return str(self.whole.device_mesh.device_type)

    def with_part(self, part: torch.Tensor) -> DTensor:
        """A tensor that is spread in the same way, of which this process holds `part`."""
        # `DTensor.from_local` would move a part that is kept off the accelerator, as FSDP can have it.
        return type(self.whole)(part, self.whole._spec, requires_grad=False)  # noqa: SLF001


def shards_of(targets: Mapping[str, Target]) -> dict[str, Shard]:
    """Those of the model's tensors that are spread over processes, by key. Nothing is asked of the others.

    Raises:
        ModelError: A tensor is spread in a way that is not one block for each process.
    """
    return {key: _shard(key, target.tensor) for key, target in targets.items() if is_sharded(target.tensor)}


def refuse_shards(tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are spread over processes themselves.

    Raises:
        CheckpointError: It names the first one.
    """
    spread = next((key for key, tensor in tensors.items() if is_sharded(tensor)), None)
    if spread is not None:
        raise CheckpointError(
            "is spread over processes, and putting it together would ask the others",
            where=spread,
            hint="give the file; or whole tensors, which torch.distributed.checkpoint.state_dict's "
            "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)) gathers",
        )


def _shard(key: str, tensor: torch.Tensor) -> Shard:
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    assert isinstance(tensor, DTensor)
    with torch.no_grad():
        local = tensor.to_local()
    mesh, placements = tensor.device_mesh, tensor.placements
    if not all(_is_block(tensor, place) for place in range(len(placements))):
        raise _unlike(key, tensor, local)
    if mesh.get_coordinate() is None:  # another part of the job's processes holds it
        return Shard(tensor, local, None)
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, placements)
    if tuple(shape) != tuple(local.shape):
        raise _unlike(key, tensor, local)
    box = tuple((start, start + size) for start, size in zip(offset, shape, strict=True))
    return Shard(tensor, local, box if math.prod(shape_of(box)) else None)


def _is_block(tensor: DTensor, place: int) -> bool:
    """Whether this dimension of the mesh cuts the tensor into runs of neighbouring rows."""
    placement = tensor.placements[place]
    factor = getattr(placement, "split_factor", None)
    if factor is None:
        return placement.is_shard() or placement.is_replicate()
    # FSDP over tensor parallelism: cut by the later dimensions of the mesh first, then by this one
    later = [
        tensor.device_mesh.size(other)
        for other in range(place + 1, len(tensor.placements))
        if getattr(tensor.placements[other], "dim", None) == placement.dim  # type: ignore[attr-defined]
    ]
    return bool(factor == math.prod(later))


def _unlike(key: str, tensor: DTensor, local: torch.Tensor) -> ModelError:
    return ModelError(
        f"is spread as {list(tensor.placements)} over a mesh of {tuple(tensor.device_mesh.shape)}, of which "
        f"this process holds {list(local.shape)}: no block of {list(tensor.shape)}",
        where=key,
        hint="graft before it is spread, or give it placements of Shard and Replicate",
    )
