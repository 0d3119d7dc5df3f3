"""From a file to a model that is spread over processes by `fully_shard`, next to the usual ways.

    python sharded.py [--processes 2 4] [--rounds N] [--model convnext_large] [--plain] [--json FILE]

The model is torchvision's, with four input channels and 21 of its 1,000 classes (`--plain`: as it is). Each
way begins with the model on the meta device and ends with one that is sharded and whose every parameter this
process has summed; those of the other ways that can't adapt do it by hand, ours matches names, adapts and
checks as always. Before anything is timed, all ways are held to the same bits.

- time: the slowest process's, the median over rounds in which the ways take turns; the file is in the page
  cache. `written` ends after every parameter was also written to once.
- memory: the most that a process of its own had resident, mapped file pages included, less what one has that
  builds and shards the same model and fills nothing; as a share of its part of the weights.
- read: bytes that the process asked for: by `read` and its kin, and pages of the file that it has mapped in
  the end. Not known where a file that was mapped on the way is closed again.
- cached: pages of the process's own copy of the file that are in the page cache afterwards, having been
  dropped from it before, so that what the system reads ahead counts, too; as a share of its part.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.checkpoint import HuggingFaceStorageReader, load
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

import torchgraft as tg

OLD = [f"class {number}" for number in range(1000)]
ROWS = list(range(300, 321))
NEW = [OLD[row] for row in ROWS]
STEMS = {"convnext_large": "features.0.0", "convnext_tiny": "features.0.0", "vit_h_14": "conv_proj"}
HEADS = {"convnext_large": "classifier.2", "convnext_tiny": "classifier.2", "vit_h_14": "heads.head"}

PLAIN = "--plain" in sys.argv
LABELS = {} if PLAIN else {"source_labels": OLD, "labels": NEW}

Way = Callable[[str, nn.Module, Path], nn.Module]


def build(name: str) -> nn.Module:
    """The model on the meta device, as wanted."""
    with torch.device("meta"):
        if PLAIN:
            return torchvision.models.get_model(name).eval()
        model = torchvision.models.get_model(name, num_classes=len(NEW))
        old = model.get_submodule(STEMS[name])
        new = nn.Conv2d(4, old.out_channels, old.kernel_size, old.stride)
        parent, _, own = STEMS[name].rpartition(".")
        setattr(model.get_submodule(parent), own, new)
    return model.eval()


def spread(model: nn.Module) -> nn.Module:
    stages = [model.encoder.layers] if hasattr(model, "encoder") else model.features
    for stage in stages:
        for block in stage:
            if any(True for _ in block.parameters()):
                fully_shard(block)
    fully_shard(model)
    return model


def changed(name: str) -> tuple[str, ...]:
    return () if PLAIN else (f"{STEMS[name]}.weight", f"{HEADS[name]}.")


def adapted(name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By hand, as each way but ours needs it."""
    if PLAIN:
        return tensors
    stem = f"{STEMS[name]}.weight"
    tensors[stem] = tensors[stem].repeat(1, 2, 1, 1)[:, :4] * (3 / 4)
    for leaf in ("weight", "bias"):
        key = f"{HEADS[name]}.{leaf}"
        tensors[key] = tensors[key][ROWS]
    return tensors


def full_load(name: str, model: nn.Module, path: Path) -> nn.Module:
    model.to_empty(device="cpu")
    model.load_state_dict(adapted(name, load_file(path)))
    return spread(model)


def assigned(name: str, model: nn.Module, path: Path) -> nn.Module:
    model.load_state_dict(adapted(name, load_file(path)), assign=True)
    return spread(model)


def broadcast(name: str, model: nn.Module, path: Path) -> nn.Module:
    spread(model).to_empty(device="cpu")
    tensors = adapted(name, load_file(path)) if dist.get_rank() == 0 else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, tensors, options=options)
    return model


def slice_of(tensor: torch.Tensor) -> tuple[slice, ...]:
    if not isinstance(tensor, DTensor):
        return tuple(slice(0, size) for size in tensor.shape)
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))


def fill_changed(name: str, model: nn.Module, path: Path) -> None:
    if PLAIN:
        return
    keys = [f"{STEMS[name]}.weight", f"{HEADS[name]}.weight", f"{HEADS[name]}.bias"]
    with safe_open(path, "pt") as file:
        tensors = adapted(name, {key: file.get_tensor(key) for key in keys})
    state = model.state_dict()
    for key in keys:
        local = state[key].to_local() if isinstance(state[key], DTensor) else state[key]
        local.copy_(tensors[key][slice_of(state[key])])


def checkpointed(name: str, model: nn.Module, path: Path) -> nn.Module:
    spread(model).to_empty(device="cpu")
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(changed(name))}
    load(state, storage_reader=HuggingFaceStorageReader(str(path.parent)))
    with torch.no_grad():
        fill_changed(name, model, path)
    return model


def by_hand(name: str, model: nn.Module, path: Path) -> nn.Module:
    spread(model).to_empty(device="cpu")
    with torch.no_grad(), safe_open(path, "pt") as file:
        for key, tensor in model.state_dict().items():
            if not key.startswith(changed(name)):
                local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
                if local.numel():
                    local.copy_(file.get_slice(key)[slice_of(tensor)])
        fill_changed(name, model, path)
    return model


def mapped(_: str, model: nn.Module, path: Path) -> nn.Module:
    tg.graft(spread(model), path, **LABELS)
    return model


def read(_: str, model: nn.Module, path: Path) -> nn.Module:
    tg.graft(spread(model), path, **LABELS, for_training=True)
    return model


def nothing(_: str, model: nn.Module, __: Path) -> nn.Module:
    return spread(model)


WAYS: dict[str, Way] = {
    "full load on each": full_load,
    "load, assign, shard": assigned,
    "rank 0, broadcast": broadcast,
    "distributed.checkpoint": checkpointed,
    "slices by hand": by_hand,
    "graft": mapped,
    "graft, for_training": read,
}


def parts(model: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        tensors = model.state_dict().values()
        return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def touch(model: nn.Module, *, write: bool) -> None:
    with torch.no_grad():
        for part in parts(model):
            if write:
                part.mul_(1)
            else:
                float(part.sum())


def timing(name: str, path: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of this process until all was touched, and written to, round by round."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    names = list(WAYS)
    reference: list[torch.Tensor] | None = None
    for way in names:  # not timed: the same bits
        made = parts(WAYS[way](name, build(name), path))
        reference = made if reference is None else reference
        assert all(map(torch.equal, made, reference)), way
    del made, reference
    for number in range(rounds):
        for way in names[number % len(names) :] + names[: number % len(names)]:
            model = build(name)
            gc.collect()
            dist.barrier()
            begun = time.perf_counter()
            model = WAYS[way](name, model, path)
            touch(model, write=False)
            touched = time.perf_counter() - begun
            touch(model, write=True)
            found[way].append((touched, time.perf_counter() - begun))
            del model
            dist.barrier()
    return found


def cost(way: str, name: str, path: Path) -> dict[str, float]:
    """Of one fill in a process of its own: the most memory, bytes of the file, bytes of its part."""
    model = build(name)
    if way != "nothing":
        drop(path)
    before = by_calls()
    model = WAYS.get(way, nothing)(name, model, path)
    held = sum(part.nbytes for part in parts(model))
    if way != "nothing":
        touch(model, write=False)
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    peak = next(int(words[1]) for words in lines if words[0] == "VmHWM:") << 10
    read = by_calls() - before + by_mapping(path) if way.startswith("graft") else None
    return {"peak": peak, "cached": resident(path), "held": held, "read": read}


def by_calls() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def by_mapping(path: Path) -> int:
    """Bytes of the file's pages that this process has touched in mappings of it that are still there."""
    count, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line[0].isupper():
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            count += int(line.split()[1]) << 10
    return count


def drop(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    assert resident(path) < path.stat().st_size // 100, "the system keeps the file in its cache"


def resident(path: Path) -> int:
    """Bytes of the file that are in the page cache."""
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        pages = (ctypes.c_ubyte * -(-len(memory) // mmap.PAGESIZE))()
        anchor = ctypes.c_char.from_buffer(memory)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.c_void_p(ctypes.addressof(anchor))
        assert libc.mincore(address, ctypes.c_size_t(len(memory)), pages) == 0
        del anchor
        return sum(page & 1 for page in pages) * mmap.PAGESIZE


def worker(task: str, rank: int, size: int, folder: Path, name: str, rounds: int) -> None:
    torch.set_num_threads(1)
    path = folder / "weights" / "model.safetensors"
    dist.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=size, timeout=timedelta(minutes=10)
    )
    if task == "time":
        found: object = timing(name, path, rounds)
    else:
        own = folder / f"own{rank}"
        found = cost(task, name, own / "model.safetensors")
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def world(task: str, size: int, folder: Path, name: str, rounds: int) -> list[dict]:
    (folder / "meeting").unlink(missing_ok=True)
    command = [sys.executable, __file__, "--task", task, "--folder", str(folder), "--model", name]
    command += ["--plain"] if PLAIN else []
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [*command, "--rounds", str(rounds), "--rank", str(rank), "--size", str(size)], env=environment
        )
        for rank in range(size)
    ]
    assert [process.wait() for process in processes] == [0] * size
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def table(size: int, folder: Path, name: str, rounds: int) -> dict[str, dict[str, float]]:
    for rank in range(size):
        (folder / f"own{rank}").mkdir(exist_ok=True)
        shutil.copy(folder / "weights" / "model.safetensors", folder / f"own{rank}")
    base = max(one["peak"] for one in world("nothing", size, folder, name, 1))
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        costs = world(way, size, folder, name, 1)
        found[way] = {
            "memory": max((one["peak"] - base) / one["held"] for one in costs),
            "cached": max(one["cached"] / one["held"] for one in costs),
            "read": max((one["read"] or 0) / one["held"] for one in costs),
        }
    seconds = world("time", size, folder, name, rounds)
    for way in WAYS:
        for place, what in enumerate(("touched", "written")):
            slowest = [max(one[way][number][place] for one in seconds) for number in range(rounds)]
            found[way][what] = statistics.median(slowest)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="convnext_large", choices=sorted(STEMS))
    parser.add_argument("--plain", action="store_true", help="nothing is adapted")
    parser.add_argument("--json", type=Path)
    for hidden, kind in (("--task", str), ("--rank", int), ("--size", int), ("--folder", Path)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        worker(given.task, given.rank, given.size, given.folder, given.model, given.rounds)
        return
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weights").mkdir()
        torch.manual_seed(0)
        model = torchvision.models.get_model(given.model)
        path = folder / "weights" / "model.safetensors"
        save_file(model.state_dict(), path)
        del model
        kind = f"{given.model}{' as it is' if PLAIN else ''}"
        print(f"{kind}, {path.stat().st_size / 1e9:.2f} GB, of {given.rounds} rounds\n")
        for size in given.processes:
            results[size] = found = table(size, folder, given.model, given.rounds)
            whole = found["full load on each"]
            print(f"{size} processes, 1/{size} of the weights each\n")
            print("| way | read / part | cached / part | memory / part | touched | s | written | s |")
            print("|---|---:|---:|---:|---:|---:|---:|---:|")
            for way, one in found.items():
                print(
                    f"| {way} | {one['read'] or math.nan:.2f} | {one['cached']:.2f} | {one['memory']:.2f} "
                    f"| {one['touched'] / whole['touched']:.3f} | {one['touched']:.3f} "
                    f"| {one['written'] / whole['written']:.3f} | {one['written']:.3f} |"
                )
            print()
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
