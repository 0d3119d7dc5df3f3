"""Reading files: ours beside torch.load, mapped or not, safetensors, numpy and transformers, as ratios.

Prints one Markdown table. Each number is a median over turns in which all contenders ran one after the other,
in processes of their own, in rotating order. What they read is first compared bit for bit; every byte that
is read is summed or copied: each is charged for its page faults. `--small` takes minutes and little disk.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from reading_files.files import empty, large, many
from reading_files.timing import Cost, interleaved
from safetensors import safe_open

import torchgraft as tg

OURS, TORCH, MAPPED, SAFE = "torchgraft", "torch.load", "torch.load(mmap=True)", "safetensors"
SUM = "total = sum(float(tensor.sum()) for tensor in tensors)"
TENTH = "names = [f'layers.{n}.weight' for n in range(0, COUNT, 10)]"

INSPECT = "import io, contextlib; from torchgraft.cli import main"
RUN = """
sys.argv = ["torchgraft", "inspect", PATHS[0]]
try:
    with contextlib.redirect_stdout(io.StringIO()):
        main()
except SystemExit as end:
    assert not end.code
"""


def row(what: str, ours: float, theirs: float, peer: str, unit: str = "s") -> str:
    """A line of the table."""
    return f"| {what} | {ours:.3g} {unit} | {peer} | {theirs:.3g} {unit} | {ours / theirs:.3f} |"


def rows(what: str, costs: dict[str, Cost], measure: str = "seconds", *, ours: str = OURS) -> list[str]:
    """Ours beside each of the others."""
    scale, unit = (1 << 20, "MiB") if measure == "memory" else (1, "s")
    own = getattr(costs[ours], measure) / scale
    return [
        row(what, own, getattr(cost, measure) / scale, peer, unit)
        for peer, cost in costs.items()
        if peer != ours
    ]


def same(tensors: dict[str, torch.Tensor], ours: Path) -> None:
    """Both read the same names and, bit for bit, the same values."""
    opened = tg.open(ours)
    assert list(opened) == list(tensors) or set(opened) == set(tensors)
    for name, tensor in tensors.items():
        mine = opened[name].view()
        assert mine.dtype == tensor.dtype
        assert mine.shape == tensor.shape
        assert mine.numpy().tobytes() == tensor.numpy().tobytes(), name


def listing(folder: Path, count: int, turns: int) -> list[str]:
    new, old, safe = many(folder, count)
    lines = []
    for what, path in (("zip .pth", new), ("legacy .pth", old)):
        same(torch.load(path), path)
        contenders = {
            OURS: (INSPECT, RUN, [str(path)]),
            TORCH: ("import torch", "torch.load(PATHS[0])", [str(path)]),
            MAPPED: ("import torch", "torch.load(PATHS[0], mmap=True)", [str(path)]),
            "python -c pass": ("", "", [str(path)]),
        }
        if path == old:
            del contenders[MAPPED]
        costs = interleaved(contenders, turns)
        text = f"whole process: inspect {count:,} tensors, {what}"
        lines += rows(text, costs, "process") + rows(f"{text}: processor time", costs, "cpu")
        lines += rows(f"{text}: memory", costs, "memory")[:1]
    code = """
opened = safe_open(PATHS[0], 'numpy')
shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]
"""
    contenders = {
        OURS: (INSPECT, RUN, [str(safe)]),
        SAFE: ("from safetensors import safe_open", code, [str(safe)]),
    }
    lines += rows(
        f"whole process: inspect {count:,} tensors, safetensors", interleaved(contenders, turns), "process"
    )
    return lines


def a_tenth(paths: tuple[Path, Path, Path], count: int, turns: int) -> list[str]:
    pth, safe, _ = paths
    names = TENTH.replace("COUNT", str(count))
    with_ours = (
        f"{names}; opened = tg.open(PATHS[0]); tensors = (opened[name].view() for name in names); {SUM}"
    )
    get = "tensors = (opened.get_tensor(name) for name in names)"
    with_safe = f"{names}; opened = safe_open(PATHS[0], 'pt'); {get}; {SUM}"
    with_torch = (
        "{names}; opened = torch.load(PATHS[0]{mmap}); tensors = (opened[name] for name in names); {SUM}"
    )
    ours = "import torch, torchgraft as tg; tg.open"
    contenders = {
        OURS: (ours, with_ours, [str(pth)]),
        "torchgraft, safetensors file": (ours, with_ours, [str(safe)]),
        SAFE: ("import torch; from safetensors import safe_open", with_safe, [str(safe)]),
        MAPPED: ("import torch", with_torch.format(names=names, mmap=", mmap=True", SUM=SUM), [str(pth)]),
        TORCH: ("import torch", with_torch.format(names=names, mmap="", SUM=SUM), [str(pth)]),
    }
    costs = interleaved(contenders, turns)
    text = f"open a .pth of {pth.stat().st_size / 1e9:.1f} GB and sum a tenth"
    return rows(text, costs) + rows(f"{text}: memory", costs, "memory")


def everything(paths: tuple[Path, Path, Path], turns: int) -> list[str]:
    pth, safe, npz = paths
    plain = """
data = mmap.mmap(-1, os.path.getsize(PATHS[0]))  # fresh pages of the usual size, as the others have
with open(PATHS[0], "rb", buffering=0) as file:
    at = 0
    while at < len(data):
        at += file.readinto(memoryview(data)[at:])
"""
    ours = "import torch, torchgraft as tg; tg.open"
    lines = []
    for path, what in ((pth, ".pth"), (safe, "safetensors"), (npz, ".npz")):
        contenders = {
            OURS: (ours, "state = tg.open(PATHS[0]).state_dict()", [str(path)]),
            "a plain read of the bytes": ("import mmap, os, torch", plain, [str(path)]),
        }
        if path == pth:
            contenders[TORCH] = ("import torch", "state = torch.load(PATHS[0])", [str(path)])
        elif path == safe:
            contenders["safetensors load_file, copied"] = (
                "from safetensors.torch import load_file",
                "state = {name: tensor.clone() for name, tensor in load_file(PATHS[0]).items()}",
                [str(path)],
            )
            contenders["transformers load_state_dict, copied"] = (
                "from transformers.modeling_utils import load_state_dict",
                "state = {name: tensor.clone() for name, tensor in load_state_dict(PATHS[0]).items()}",
                [str(path)],
            )
        else:
            contenders["numpy.load"] = ("import numpy as np", "state = dict(np.load(PATHS[0]))", [str(path)])
        costs = interleaved(contenders, turns)
        lines += rows(f"read all of {path.stat().st_size / 1e9:.1f} GB into memory of its own, {what}", costs)
    return lines


def without_values(folder: Path, count: int, turns: int) -> list[str]:
    few, all_of_them = empty(folder, count // 4), empty(folder, count)
    ours = ("import torchgraft as tg; tg.open", "assert len(tg.open(PATHS[0])) > 0")
    costs = interleaved({"a quarter": (*ours, [str(few)]), OURS: (*ours, [str(all_of_them)])}, turns)
    peers = {SAFE: "'numpy'"}
    lines = [
        row(
            f"open {count:,} empty entries",
            costs[OURS].seconds,
            costs["a quarter"].seconds,
            "a quarter of them, ours",
        )
    ]
    for peer, framework in peers.items():
        code = f"opened = safe_open(PATHS[0], {framework}); opened.keys()"
        contender = {peer: ("from safetensors import safe_open", code, [str(all_of_them)])}
        theirs = interleaved(contender, 1)
        lines.append(row(f"open {count:,} empty entries", costs[OURS].seconds, theirs[peer].seconds, peer))
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of each size, three turns")
    parser.add_argument("--turns", type=int, default=None)
    small = (chosen := parser.parse_args(arguments)).small
    turns = chosen.turns or (3 if small else 5)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    packages = ("torch", "safetensors", "numpy", "transformers")
    print(", ".join(f"{name} {version(name)}" for name in packages), end="; ")
    machine = f"{platform.machine()}, {os.cpu_count()} processors"
    print(f"Python {platform.python_version()}, {machine}; medians of {turns}\n")
    print("| what | torchgraft | beside | takes | ratio |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print(*listing(folder, 10_000 if small else 100_000, turns), sep="\n", flush=True)
        print(*without_values(folder, 20_000 if small else 200_000, turns), sep="\n", flush=True)
        paths = large(folder, (1 << 31) // (10 if small else 1))
        with safe_open(paths[1], "pt") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        for path in paths:
            same(state, path)
        count = len(state)
        del state
        print(*a_tenth(paths, count, turns), sep="\n", flush=True)
        print(*everything(paths, turns), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
