"""What each of 1,024 processes asks an object store for: the plan's own slices, of weights that don't exist.

    python scale_simulation.py [--layers 126 316] [--ranks 0 511 1023] [--folder FOLDER]

Llama 3.1's 405B is built from its config on the meta device (126 layers; with 316 it has 1.01 trillion
parameters) and spread over 1,024 processes, one of which this is: PyTorch's "fake" process group answers for
the others. The checkpoint is an index and the headers of its shards, as transformers writes them; a stand-in
for the store serves the headers, counts what is asked for beyond them, and gives nothing. Opening, matching,
the choice of slices and their joining into requests are the library's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WORLD = 1024
SHARD = 5_000_000_000
LAYOUTS = ("FSDP 1024", "HSDP 8 x 128", "FSDP 128 x TP 8", "every process all")


@dataclass
class Store:
    """Counts."""

    requests: int = 0
    bytes: int = 0


class Shard:
    """A shard in the store, of which only the header exists."""

    def __init__(self, name: str, header: bytes, size: int, store: Store) -> None:
        self.name = f"store://{name}"
        self.size = size
        self._header = header
        self._store = store

    def read_into(self, offset: int, into: memoryview) -> None:
        self._store.requests += 1
        self._store.bytes += len(into)
        known = self._header[offset : offset + len(into)]
        into[: len(known)] = known

    def check(self) -> None:
        pass


def build(layers: int):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=16_384,
        intermediate_size=53_248,
        num_hidden_layers=layers,
        num_attention_heads=128,
        num_key_value_heads=8,
        dtype="bfloat16",
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config).to(torch.bfloat16)


def write_index(folder: Path, layers: int) -> None:
    """`model.safetensors.index.json` and, for each of its shards, the header and its full size."""
    shards: list[dict[str, object]] = [{}]
    filled = total = 0
    for key, tensor in build(layers).state_dict().items():
        if filled and filled + tensor.nbytes > SHARD:
            shards.append({})
            filled = 0
        shards[-1][key] = {
            "dtype": "BF16",
            "shape": list(tensor.shape),
            "data_offsets": [filled, filled + tensor.nbytes],
        }
        filled += tensor.nbytes
        total += tensor.nbytes
    weight_map = {}
    for number, header in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
        text += b" " * (-len(text) % 8)
        (folder / f"{name}.header").write_bytes(len(text).to_bytes(8, "little") + text)
        weight_map.update(dict.fromkeys(header, name))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def opened(folder: Path, store: Store):
    """The checkpoint of the index, its shards read as remote files."""
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.formats.safetensors import SAFETENSORS
    from torchgraft.storage.remote_file import RemoteFile

    index = json.loads((folder / "model.safetensors.index.json").read_text())
    store.requests += 1
    tensors: dict[str, object] = {}
    for name in sorted(set(index["weight_map"].values())):
        header = (folder / f"{name}.header").read_bytes()
        entries = json.loads(header[8:])
        size = len(header) + max(one["data_offsets"][1] for key, one in entries.items() if key[0] != "_")
        tree = SAFETENSORS.read(RemoteFile(Shard(name, header, size, store))).tree
        assert isinstance(tree, Mapping)
        tensors.update(tree)
    assert list(tensors) == list(index["weight_map"])
    return Checkpoint(tensors, name="store://model.safetensors.index.json")


def spread(model, layout: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    if layout == "FSDP 1024":
        mesh = init_device_mesh("cpu", (WORLD,))
    elif layout == "HSDP 8 x 128":
        mesh = init_device_mesh("cpu", (8, WORLD // 8), mesh_dim_names=("copies", "parts"))
    else:
        both = init_device_mesh("cpu", (WORLD // 8, 8), mesh_dim_names=("dp", "tp"))
        styles = dict.fromkeys(("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"), ColwiseParallel)
        styles |= dict.fromkeys(("o_proj", "down_proj"), RowwiseParallel)
        plan = {f"model.layers.*.*.{name}": style() for name, style in styles.items()}
        parallelize_module(model, both["tp"], plan)
        mesh = both["dp"]
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def slices(plan, model) -> Iterator[object]:
    """What `Plan.apply` asks for, as it does."""
    from torchgraft.planning.local_reading import LocalRead
    from torchgraft.planning.sharded import shards_of
    from torchgraft.planning.targets import targets_of

    targets = targets_of(model)
    shards = shards_of(targets)
    for entry in plan.targets:
        if entry.name not in shards:
            yield from (span for key in entry.sources for span in plan.binding.checkpoint[key].spans())
        elif shards[entry.name].box is not None:
            yield from LocalRead.of(entry, shards[entry.name].box).spans(plan.binding.checkpoint)


def count(folder: Path, layers: int, layout: str, rank: int) -> dict[str, float]:
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    import torchgraft as tg
    from torchgraft.storage.prefetching import prefetched

    dist.init_process_group("fake", rank=rank, world_size=WORLD, store=FakeStore())
    model = build(layers)
    if layout != LAYOUTS[-1]:
        spread(model, layout)
    store = Store()
    begun = time.perf_counter()
    checkpoint = opened(folder, store)
    opening = store.requests
    planned = time.perf_counter()
    plan = tg.plan(model, checkpoint)
    assert plan.counts["fresh"] == 0
    spans = list(slices(plan, model))
    finished = time.perf_counter()
    store.requests = store.bytes = 0
    if layout == LAYOUTS[-1]:  # more than there is memory for, even untouched
        store.bytes = sum(ref.nbytes for ref in checkpoint.values())
        store.requests = -(-store.bytes // (8 << 20))
    else:
        with prefetched(spans):  # fills memory that is never touched
            pass
    held = 0
    for tensor in model.state_dict().values():
        local = getattr(tensor, "_local_tensor", tensor)
        held += local.nbytes
    return {
        "opening": opening,
        "requests": store.requests,
        "bytes": store.bytes,
        "held": held,
        "open_s": planned - begun,
        "plan_s": finished - planned,
        "parameters": sum(tensor.numel() for tensor in model.state_dict().values()),
        "shards": opening - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, nargs="*", default=[126, 316])
    parser.add_argument("--ranks", type=int, nargs="*", default=[0, 511, 1023])
    parser.add_argument("--folder", type=Path, help="where index and headers go; a temporary one by default")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        layers, layout, rank = given.one
        print(json.dumps(count(given.folder, int(layers), layout, int(rank))))
        return
    with tempfile.TemporaryDirectory() as name:
        for layers in given.layers:
            folder = (given.folder or Path(name)) / str(layers)
            folder.mkdir(parents=True, exist_ok=True)
            write_index(folder, layers)
            report(folder, layers, given.ranks)


def report(folder: Path, layers: int, ranks: list[int]) -> None:
    rows = {}
    for layout in LAYOUTS:
        rows[layout] = []
        for rank in ranks if layout != LAYOUTS[-1] else ranks[:1]:
            command = [
                sys.executable,
                __file__,
                "--folder",
                str(folder),
                "--one",
                str(layers),
                layout,
                str(rank),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows[layout].append(json.loads(done.stdout.splitlines()[-1]))
    first = rows[LAYOUTS[0]][0]
    size = first["parameters"] / 1e12
    print(f"{size:.3f} trillion parameters, {first['shards']:.0f} shards, {WORLD} processes\n")
    print(
        "| layout | part, GB | read, GB | read / part | requests | to open | all read, TB | open + plan, s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for layout, found in rows.items():
        most = max(found, key=lambda one: one["bytes"])
        seconds = max(one["open_s"] + one["plan_s"] for one in found)
        print(
            f"| {layout} | {most['held'] / 1e9:.2f} | {most['bytes'] / 1e9:.2f} "
            f"| {most['bytes'] / most['held']:.2f} | {most['requests']:,.0f} | {most['opening']:,.0f} "
            f"| {most['bytes'] * WORLD / 1e12:.1f} | {seconds:.1f} |"
        )
    print()


if __name__ == "__main__":
    main()
