"""One of several processes that graft the cases; run as `python -m planning.sharded_world FOLDER RANK SIZE`.

What it finds is left in a file of the folder: for each case what went wrong, and the bytes that were read.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import fsspec
import torch
import torch.distributed as dist
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import torchgraft as tg
from planning.sharded_cases import CASES, IDS, LARGE, Attention, Case, Language, Mixed, fsdp
from torchgraft.anatomy.unsharded import unsharded
from torchgraft.errors import AdaptError, CheckpointError, ModelError


class Counted(MemoryFileSystem):
    """Counts the bytes that are asked for."""

    protocol = "counted"
    store: dict[str, object] = {}  # noqa: RUF012  # as the base class has it
    pseudo_dirs = [""]  # noqa: RUF012
    count = 0

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("counted://", "memory://"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        data = super().cat_file(path, start=start, end=end, **kwargs)
        Counted.count += len(data)
        return data


def saved(case: Case, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in case.weights().items()}, path)
    return path


def parts_of(model: nn.Module) -> dict[str, tuple[torch.Tensor, object]]:
    """What this process holds of each tensor, and how it is spread."""
    with torch.no_grad():
        return {
            key: (tensor.to_local(), tensor.placements) if isinstance(tensor, DTensor) else (tensor, None)
            for key, tensor in model.state_dict().items()
        }


def built(case: Case, *, meta: bool) -> nn.Module:
    torch.manual_seed(5)
    with torch.device("meta" if meta else "cpu"):
        return case.build().eval()


def check(case: Case, kind: str, path: Path) -> None:
    """Hold the graft into the spread model to the graft into a whole one that is spread afterwards."""
    reference = built(case, meta=False)
    expected = tg.graft(reference, path, **case.options)
    case.spread(reference)
    model = built(case, meta=kind != "real")
    case.spread(model)
    identities = {key: id(tensor) for key, tensor in model.state_dict(keep_vars=True).items()}
    report = tg.graft(model, path, for_training=kind == "read", **case.options)
    assert report.plan == expected.plan
    ours, theirs = parts_of(model), parts_of(reference)
    assert list(ours) == list(theirs)
    for key, (part, placements) in theirs.items():
        assert (ours[key][0].dtype, ours[key][0].shape) == (part.dtype, part.shape), key
        assert torch.equal(ours[key][0], part), key
        assert ours[key][1] == placements, key
    tensors = model.state_dict(keep_vars=True)
    if kind == "real":
        assert identities == {key: id(tensor) for key, tensor in tensors.items()}
    for key, tensor in tensors.items():
        same = {other for other in tensors if tensors[other] is tensor}
        wanted = reference.state_dict(keep_vars=True)
        assert same == {other for other in wanted if wanted[other] is wanted[key]}, key
        assert tensor.requires_grad == wanted[key].requires_grad, key
    if case.input is not None:
        with torch.no_grad():
            assert torch.equal(whole(model(case.input)), whole(reference(case.input)))


def whole(output: torch.Tensor) -> torch.Tensor:
    return output.full_tensor() if isinstance(output, DTensor) else output


def bytes_read(case: Case, path: Path) -> dict[str, int]:
    """Bytes that a graft asks a store for, beside the header, and the disk, when it reads in one go.

    Beside them those of what this process holds afterwards, and of all tensors that are adapted.
    """
    found = {}
    remote = tg.open(f"counted://{path.name}")
    model = built(case, meta=True)
    case.spread(model)
    plan = tg.plan(model, remote, **case.options)
    Counted.count = 0
    plan.apply()
    found["asked for"] = Counted.count
    model = built(case, meta=True)
    case.spread(model)
    plan = tg.plan(model, path, **case.options)
    preadv, counts = os.preadv, []

    def counted(*arguments):
        counts.append(preadv(*arguments))
        return counts[-1]

    os.preadv = counted
    try:
        plan.apply(for_training=True)
    finally:
        os.preadv = preadv
    found["read"] = sum(counts)
    held = {id(tensor): part.nbytes for tensor, (part, _) in zip(
        model.state_dict(keep_vars=True).values(), parts_of(model).values(), strict=True)}  # fmt: skip
    found["held"] = sum(held.values())
    resized = [entry for entry in plan.targets if any(op.name != "block" for op in entry.ops)]
    found["adapted"] = sum(tensor.nbytes for key, tensor in load_file(path).items() if key in
                           {entry.source for entry in resized})  # fmt: skip
    return found


def alone(rank: int, path: Path) -> None:
    """The first process grafts, and the others do nothing: whoever asked them would wait for ever."""
    model = built(CASES[0], meta=True)
    fsdp(model)
    if rank == 0:
        tg.graft(model, path)
    dist.barrier()
    four = Mixed(4).eval()  # its stem is found by a run
    fsdp(four)
    if rank == 0:
        assert tg.graft(four, path).plan.counts["adapted"] == 1
    dist.barrier()


def twins() -> None:
    """What stands for a spread model when it is examined: whole, without values, without what gathers."""
    called: list[str] = []
    model = Language(fused=True, tied=True)
    model.attn.register_forward_hook(lambda *_: called.append("mine"))
    fully_shard(model.attn)
    fully_shard(model)
    twin = unsharded(model)
    assert type(twin) is Language
    assert type(twin.attn) is Attention
    assert all(type(parameter) is nn.Parameter and parameter.is_meta for parameter in twin.parameters())
    shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in model.state_dict().items()}
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in twin.state_dict().items()} == shapes
    assert twin.head.weight is twin.tokens.weight
    assert twin(IDS.to("meta")).shape == (2, 4, 11)
    assert called == ["mine"]
    assert tg.examine(model).heads[0].path == "head"
    whole = Mixed()
    assert unsharded(whole) is whole


def failing(rank: int, path: Path) -> None:
    """One process can't read its file: it says so, its model stays as it was, and the others go on."""
    model = Mixed().eval()
    fsdp(model)
    before = {key: part.clone() for key, (part, _) in parts_of(model).items()}
    plan = tg.plan(model, path)
    if rank == 1:
        fewer = {key: value for key, value in load_file(path).items() if key != "head.bias"}
        bound = plan.bind(model, fewer)
        try:
            bound.apply()
        except CheckpointError as error:
            assert "head.bias" in str(error)  # noqa: PT017  # all processes go on
        else:
            raise AssertionError("nothing was raised")
        assert all(torch.equal(part, before[key]) for key, (part, _) in parts_of(model).items())
    else:
        plan.apply()
        assert not all(torch.equal(part, before[key]) for key, (part, _) in parts_of(model).items())
    dist.barrier()


def refusals(path: Path) -> None:
    model = Mixed().eval()
    fsdp(model)
    for weights, error in ((model, CheckpointError), (model.state_dict(), CheckpointError)):
        try:
            tg.plan(Mixed(), weights)
        except error as caught:
            assert "spread over processes" in str(caught)  # noqa: PT017
        else:
            raise AssertionError("nothing was raised")
    try:
        tg.adapt(model, in_channels=4)
    except AdaptError as caught:
        assert "before it is spread" in str(caught)  # noqa: PT017
    else:
        raise AssertionError("nothing was raised")
    with torch.device("meta"):
        empty = Mixed(classes=9)
    fsdp(empty)
    try:
        tg.graft(empty, path)
    except ModelError as caught:
        assert "head.weight: would stay fresh" in str(caught)  # noqa: PT017
    else:
        raise AssertionError("nothing was raised")
    assert all(parameter.is_meta for parameter in empty.parameters())


def main(folder: Path, rank: int, size: int) -> None:
    dist.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=size, timeout=timedelta(seconds=240)
    )
    fsspec.register_implementation("counted", Counted, clobber=True)
    found: dict[str, object] = {}

    def attempt(name: str, what) -> None:
        try:
            found[name] = what() or "passed"
        except Exception:
            found[name] = traceback.format_exc()

    for number, case in enumerate(CASES):
        if size == 2 and case.name in ("both", "copies of parts"):
            continue
        path = saved(case, folder / f"{rank}-{number}.safetensors")
        for kind in case.kinds:
            attempt(f"{case.name}: {kind}", lambda case=case, kind=kind, path=path: check(case, kind, path))
    for case in LARGE:
        path = saved(case, folder / f"{rank}-{case.name}.safetensors")
        fsspec.filesystem("counted").pipe_file(f"/{path.name}", path.read_bytes())
        attempt(f"{case.name}: bytes", lambda case=case, path=path: bytes_read(case, path))
    plain = folder / f"{rank}-0.safetensors"
    attempt("alone", lambda: alone(rank, plain))
    attempt("twins", twins)
    attempt("failing", lambda: failing(rank, plain))
    attempt("refusals", lambda: refusals(plain))
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
