"""Two processes save sharded tensors, as FSDP does: `python two_ranks.py RANK FOLDER`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor


def whole() -> dict[str, torch.Tensor]:
    """What is saved; the names of those that are sharded end in the dimension."""
    base = torch.arange(7 * 5, dtype=torch.float32).reshape(7, 5)
    return {
        "layer.rows_0": base,
        "layer.columns_1": base.to(torch.bfloat16),
        "layer.single_0": base[:1],
        "layer.replicated": base * 2,
        "layer.plain": base.int(),
    }


def save(rank: int, folder: Path) -> None:
    """Save it in DCP's own format and as safetensors."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    state: dict[str, torch.Tensor] = {}
    for name, tensor in whole().items():
        if name.endswith("plain"):
            state[name] = tensor
        else:
            placement = Replicate() if name.endswith("replicated") else Shard(int(name[-1]))
            state[name] = distribute_tensor(tensor, mesh, [placement])
    dcp.save({"model": state, "step": 3}, checkpoint_id=folder / "torch")
    dcp.save(state, storage_writer=dcp.HuggingFaceStorageWriter(str(folder / "hf"), save_distributed=True))
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    save(int(sys.argv[1]), Path(sys.argv[2]))
