"""How long it takes until anything happens: imports and commands, next to Python's and PyTorch's own start.

    python benchmarks/starting.py [--rounds N]

Processor time of whole processes, which varies less than the clock's on a busy machine, in an order that
rotates, files in the page cache. `click` and `rich` are what the command line is made of, and so its floor.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from interleaved import medians, spread
from safetensors.torch import save_file

IMPORTED = {
    "python -c pass": "pass",
    "import click": "import click",
    "import rich.console": "import rich.console",
    "import torchgraft": "import torchgraft",
    "import torchgraft.checkpoint": "import torchgraft.checkpoint",
    "import torch": "import torch",
}
COMMANDS = {
    "torchgraft --help": ["--help"],
    "torchgraft finetune --help": ["finetune", "--help"],
    "torchgraft inspect resnet18.safetensors": ["inspect", "resnet18.safetensors"],
    "torchgraft inspect resnet18.pth": ["inspect", "resnet18.pth"],
    "torchgraft diff resnet18.pth resnet18.safetensors": ["diff", "resnet18.pth", "resnet18.safetensors"],
}


def processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process(arguments: list[str], folder: str) -> Callable[[], object]:
    return lambda: subprocess.run(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL, check=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = torchvision.models.resnet18().state_dict()
        torch.save(state, Path(folder) / "resnet18.pth")
        save_file(state, Path(folder) / "resnet18.safetensors")
        ways = {name: process(["-c", code], folder) for name, code in IMPORTED.items()}
        ways |= {name: process(["-m", "torchgraft", *words], folder) for name, words in COMMANDS.items()}
        found = medians(ways, rounds=options.rounds, clock=processor_time)
    python, pytorch = found["python -c pass"], found["import torch"]
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    print("\n| | ms of processor time | of `python -c pass` | of `import torch` |\n|---|---|---|---|")
    for name, times in found.items():
        shown = f"{1000 * statistics.median(times):.0f}"
        print(f"| `{name}` | {shown} | {spread(times, python)} | {spread(times, pytorch)} |")


if __name__ == "__main__":
    main()
