"""Saving and converting beside safetensors, torch.save and a plain copy: time by ratios, and memory.

    python benchmarks/saving.py [--runs 5] [--save-mb 500] [--convert-mb 2000] [--folder PLACE]

All that is compared is written to the same disk, in turn, and put on it: torchgraft always asks the system to
do so before a file gets its name, and the peers, which don't, are given an `fsync` after. Each run starts
without the target. Converting reads a `.pth` from the system's cache, as the plain copy does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import save_file

import torchgraft as tg

MIB = 1 << 20
Ways: TypeAlias = "dict[str, tuple[str, Callable[[Path], object]]]"


def weights(megabytes: int) -> dict[str, torch.Tensor]:
    """Matrices of 16 MB, as large models have them, and a small one beside each."""
    rows = 4_000_000 // 1000
    count = max(1, megabytes // 16)
    large = {f"layers.{i}.weight": torch.rand(rows, 1000) for i in range(count)}
    small = {f"layers.{i}.bias": torch.rand(1000) for i in range(count)}
    return large | small


def synced(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def peer(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        write(path)
        synced(path)

    return run


def compare(title: str, folder: Path, runs: int, ways: Ways) -> None:
    """Time each way in turn; the first is what the others are measured by.

    The processor's own seconds tell the work from waiting for a disk that others use too.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, (target, write) in ways.items():
            path = folder / target
            os.sync()
            begin, worked = time.perf_counter(), time.process_time()
            write(path)
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - begin)
                busy[name].append(time.process_time() - worked)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    base = next(iter(seconds))
    print(f"\n{title}: medians of {runs}; ratios to {base!r}, of each run to the one beside it")
    for name in ways:
        columns = []
        for measured in (seconds, busy):
            pairs = zip(measured[name], measured[base], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            columns.append(f"{statistics.median(measured[name]):7.2f} s  x {ratio:5.2f}")
        print(f"  {name:<40} {columns[0]}   processor {columns[1]}", flush=True)


PEAK = """
import sys
import torch, torchgraft as tg
tg.convert(tg.Checkpoint.from_state_dict({"x": torch.zeros(4)}), sys.argv[2] + "-tiny.pth")
tg.convert(tg.Checkpoint.from_state_dict({"x": torch.zeros(4)}), sys.argv[2] + "-tiny.safetensors")
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):  # ru_maxrss counts what the parent had when it started this process
            return int(line.split()[1])
before = peak()
tg.convert(sys.argv[1], sys.argv[2])
print(peak() - before)
"""


def peak(source: Path, target: Path) -> float:
    """MiB by which converting raises a process's largest resident size, mapped files counted."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, source, target], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--save-mb", type=int, default=500)
    parser.add_argument("--convert-mb", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where to write; by default where temporary files are")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        saving(Path(name), given.runs, given.save_mb)
        converting(Path(name), given.runs, given.convert_mb)


def saving(folder: Path, runs: int, megabytes: int) -> None:
    tensors = weights(megabytes)
    ways: Ways = {
        "safetensors.torch.save_file, fsync": ("a.safetensors", peer(lambda p: save_file(tensors, p))),
        "torchgraft.save, .safetensors": ("b.safetensors", lambda p: tg.save(tensors, p)),
        "torchgraft.save, shards": ("c", lambda p: tg.save(tensors, p, shard_size="100MB")),
        "torch.save, fsync": ("d.pth", peer(lambda p: torch.save(tensors, p))),
        "torchgraft.save, .pth": ("e.pth", lambda p: tg.save(tensors, p)),
        "safetensors.torch.save_file, no fsync": ("f.safetensors", lambda p: save_file(tensors, p)),
    }
    compare(f"saving {megabytes} MB", folder, runs, ways)


def converting(folder: Path, runs: int, megabytes: int) -> None:
    source = folder / "source.pth"
    torch.save(weights(megabytes), source)
    ways: Ways = {
        "shutil.copyfile, fsync": ("a.pth", peer(lambda p: shutil.copyfile(source, p))),
        "read and write by 16 MiB, fsync": ("b.pth", peer(lambda p: plain_copy(source, p))),
        "torchgraft.convert to .safetensors": ("c.safetensors", lambda p: tg.convert(source, p)),
        "the same, verify=False": ("d.safetensors", lambda p: tg.convert(source, p, verify=False)),
        "torchgraft.convert to .pth": ("e.pth", lambda p: tg.convert(source, p)),
    }
    compare(f"converting a .pth of {megabytes} MB", folder, runs, ways)
    for target in ("p.safetensors", "p.pth"):
        above = peak(source, folder / target)
        print(f"  peak memory over the baseline, to {target[1:]:<13} {above:7.0f} MiB")


def plain_copy(source: Path, target: Path) -> None:
    """A copy that no file system can make without moving the bytes (`copyfile` may share them)."""
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(16 * MIB):
            writing.write(piece)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
