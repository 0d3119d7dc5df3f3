"""What each process of tests/finetuning/test_processes*.py runs: `one_of_several.py FOLDER CASE…`.

Started by `torchrun` or with a file to meet at (STORE); alone it is the run to compare with.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import torchgraft as tg
from torchgraft.errors import DataError
from torchgraft.finetuning.engine import Engine
from torchgraft.finetuning.processes.agreement import StoppedElsewhereError
from torchgraft.finetuning.processes.batch_norm import over_all_processes
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
IMAGES = 61  # 49 to train and 12 to validate: neither fits the batches
CASES: dict[str, dict[str, Any]] = {
    "full": {"batch_size": 13},
    "frozen-norms": {"batch_size": 13, "freeze_bn": True},
    "weights-ema-accumulated": {"batch_size": 9, "accumulate": 2, "ema": 0.9, "class_weights": "balanced"},
    "smoothing-clip": {"batch_size": 13, "label_smoothing": 0.1, "clip": 0.01},
    "l2-sp": {"recipe": "l2-sp", "batch_size": 13},
    "gradual": {"recipe": "gradual", "epochs": 4, "batch_size": 13},
    "linear-probe": {"recipe": "linear-probe"},
    "lp-ft": {"recipe": "lp-ft", "batch_size": 13, "lr": 1e-3},
}
QUICK = ("full", "weights-ema-accumulated", "l2-sp", "linear-probe")
SHARDED = {
    f"sharded-{name}": {**CASES[name], "shard": True}
    for name in ("full", "weights-ema-accumulated", "l2-sp", "gradual", "lp-ft")
}
SHARDED["sharded-full"]["lr"] = 3e-4  # a wide model's rounding grows with the rate


class Net(nn.Module):
    """A part that is never used, batch normalisation, and (wide) blocks that FSDP2 takes one by one."""

    def __init__(self, wide: bool = False) -> None:
        super().__init__()
        width = 1000 if wide else 8
        self.stem = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.unused = nn.Linear(3, 5)
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.stem(x))).mean(dim=(2, 3))
        return self.head(self.blocks(x))


def net(wide: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net(wide).eval()
    half = (0.5,) * 3
    how = Preprocessing(size=(16, 16), crop=1.0, interpolation="bilinear", mean=half, std=half)
    attach_info(model, ModelInfo(preprocessing=how))
    return model


def photos(count: int = IMAGES) -> tuple[list[np.ndarray], list[str]]:
    """Two classes that brightness nearly tells apart, so that the loss stays well above zero."""
    bright = [index % 3 == 0 for index in range(count)]
    pictures = []
    for index, light in enumerate(bright):
        noise = np.random.default_rng(index).integers(0, 200, (20, 24, 3))
        pictures.append((noise + (40 if light else 10)).astype(np.uint8))
    return pictures, ["bright" if light else "dark" for light in bright]


def finetuned(folder: Path, name: str, **more: Any) -> None:
    """Its losses, step by step, are in the run folder's `steps.jsonl`."""
    options = {**CASES, **SHARDED}[name]
    model = net(wide=name == "sharded-full")
    tg.finetune(
        model,
        photos(),
        out=folder / name,
        **{"recipe": "full", "lr": 0.003, "epochs": 2, **options, **more},
    )


def killed(folder: Path, name: str, *, step: int) -> None:
    """The last process is killed in this step of the optimizer."""
    model, calls = net(), []

    def count(*_: object) -> None:
        if model.training:
            calls.append(1)
        if len(calls) == step and RANK == WORLD - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    model.register_forward_pre_hook(count)
    tg.finetune(model, photos(), out=folder / name, checkpoint_every=2, **RESUMED)


RESUMED: dict[str, Any] = {"recipe": "full", "lr": 0.003, "epochs": 3, "batch_size": 13, "ema": 0.9}


def resumed(folder: Path, name: str, *, resume: bool = True, **more: Any) -> None:
    tg.finetune(net(), photos(), out=folder / name, checkpoint_every=2, resume=resume, **RESUMED, **more)


class Numbers(Dataset):
    """23 inputs: in batches of 11 the last has one."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(23, 3, 8, 8, generator=generator)
        self.targets = torch.randint(0, 2, (23,), generator=generator)

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        return self.inputs[index], self.targets[index], index


def by_engine() -> list[float]:
    """Losses of a loop over `Numbers`; with several processes one has nothing to do in the last batch."""
    engine, model = Engine(), net()
    losses = []
    with engine.released():
        loader = engine.loader(DataLoader(Numbers(), batch_size=11))
        running = engine.model(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        model.train()
        for inputs, targets, indices in [*loader, *loader]:
            total = engine.sum(torch.tensor(float(len(indices))))
            with engine.micro_batch(len(indices)):
                part = functional.cross_entropy(running(inputs), targets) * (len(indices) / total)
                engine.backward(part)
            losses.append(float(engine.sum(part)))
            engine.step(optimizer, list(model.parameters()), clip=1.0)
    return losses


def by_hand() -> list[float]:
    """The same in plain PyTorch."""
    model, data = net(), Numbers()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()
    losses = []
    for rows in [*torch.arange(23).split(11)] * 2:
        loss = functional.cross_entropy(model(data.inputs[rows]), data.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def normalised() -> list[float]:
    """Largest differences of output, gradient, mean and variance from batch normalisation of the whole."""
    x = torch.randn(13, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    slope = torch.randn(13, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mine = slice(RANK * 13 // WORLD, (RANK + 1) * 13 // WORLD)
    results = []
    for part, around in ((slice(None), None), (mine, over_all_processes)):
        norm = nn.BatchNorm2d(4, dtype=torch.float64)
        given = x[part].clone().requires_grad_()
        if around is None:
            out = norm(given)
        else:
            with around():
                out = norm(given)
        (out * slope[part]).sum().backward()
        cut = mine if around is None else slice(None)
        results.append([out[cut], given.grad[cut], norm.running_mean, norm.running_var])
    return [float((a - b).detach().abs().max()) for a, b in zip(*results, strict=True)]


def agreed() -> dict[str, Any]:
    """What the processes settle among themselves."""
    engine = Engine()
    calls: list[int] = []
    found: dict[str, Any] = {
        "sum": float(engine.sum(torch.tensor(RANK + 1.0))),
        "any": [engine.any(False), engine.any(RANK == WORLD - 1)],
        "rows": engine.gather(torch.full((RANK + 1, 2), float(RANK))).tolist(),
        "none": engine.gather(torch.zeros(0 if RANK else 1, dtype=torch.int64)).tolist(),
        "first": engine.first(lambda: calls.append(1) or RANK),
        "calls": len(calls),
    }
    for failing in range(WORLD):
        found[f"fails-{failing}"] = _caught(lambda failing=failing: _fail_together(engine, failing))
    found["first-fails"] = _caught(lambda: engine.first(lambda: _fail("in the first")))
    return found


def _fail_together(engine: Engine, rank: int) -> None:
    with engine.together():
        if rank == RANK:
            _fail(f"in {rank}")
        engine.first(lambda: 1)


def _fail(words: str) -> None:
    raise DataError(words, hint="try again")


def _caught(act: Callable[[], object]) -> list[Any]:
    try:
        act()
    except DataError as error:
        return ["own", error.what]
    except StoppedElsewhereError as error:
        return ["elsewhere", error.what, error.hint]
    return []


def main(folder: Path, cases: list[str]) -> None:
    if "STORE" in os.environ:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{os.environ['STORE']}", rank=RANK, world_size=WORLD
        )
    said: dict[str, Any] = {}
    for case in cases:
        name, _, argument = case.partition("=")
        if name == "killed":
            killed(folder, "run", step=int(argument))
        elif name == "resumed":
            resumed(folder, argument or "run")
        elif name == "uninterrupted":
            resumed(folder, argument, resume=False)
        elif name in ("by_engine", "normalised", "agreed"):
            said[name] = globals()[name]()
        else:
            finetuned(folder, name)
    (folder / f"said-{RANK}.json").write_text(json.dumps(said))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
