"""Listing and reading a `.pth` file: whole processes and calls, side by side, interleaved, as ratios.

Prints a Markdown table. Each ratio is the median of ours over the median of `torch.load`'s; what was read is
first compared bit for bit. Reading is charged for its page faults: every tensor is summed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import torchgraft as tg

TURNS = 5


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def interleaved(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each; which goes first rotates."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(TURNS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(seconds(runs[name]))
    return {name: statistics.median(values) for name, values in taken.items()}


def process(code: str, path: Path) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def total(tensors: object) -> float:
    return sum(float(tensor.double().sum()) for tensor in tensors)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        many, large = Path(folder) / "many.pth", Path(folder) / "large.pth"
        torch.save({f"layers.{n}.weight": torch.full((4,), float(n)) for n in range(20_000)}, many)
        torch.save({f"layers.{n}.weight": torch.randn(256, 4096) for n in range(100)}, large)  # 400 MB
        theirs, ours = torch.load(large), tg.open(large)
        assert all(torch.equal(theirs[name], ours[name].view()) for name in theirs)
        listing = interleaved(
            {
                "ours": process("import sys, torchgraft; print(len(torchgraft.open(sys.argv[1])))", many),
                "theirs": process("import sys, torch; print(len(torch.load(sys.argv[1])))", many),
            }
        )
        some = [f"layers.{n}.weight" for n in range(0, 100, 10)]
        part = interleaved(
            {
                "ours": lambda: total(ref.view() for ref in map(tg.open(large).__getitem__, some)),
                "theirs": lambda: total(map(torch.load(large).__getitem__, some)),
            }
        )
        whole = interleaved(
            {
                "ours": lambda: total(ref.view() for ref in tg.open(large).values()),
                "theirs": lambda: total(torch.load(large).values()),
                "theirs, mapped": lambda: total(torch.load(large, mmap=True).values()),
            }
        )
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {TURNS} interleaved runs\n"
    )
    print("| a .pth file | ratio to torch.load |\n|---|---|")
    print(f"| a process that lists 20,000 tensors | {listing['ours'] / listing['theirs']:.3f} |")
    print(f"| open and sum a tenth of 400 MB | {part['ours'] / part['theirs']:.2f} |")
    print(f"| open and sum all of it | {whole['ours'] / whole['theirs']:.2f} |")
    print(f"| the same to torch.load(mmap=True) | {whole['ours'] / whole['theirs, mapped']:.2f} |")


if __name__ == "__main__":
    main()
