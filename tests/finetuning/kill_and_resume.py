"""Trains a tiny model over and over, kills it at many points, lets it go on, and compares what comes of it.

`python kill_and_resume.py FOLDER KILLS SEED` prints `{"kills": …, "lives": …, "problems": […]}`. PyTorch is
imported once; each life of a run is a fork. It counts its dealings with files and kills itself with SIGKILL
when it has counted as many as it was told: while it trains, validates or writes a checkpoint.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from torchgraft.finetuning import finetune
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

SIZE = Preprocessing(size=(12, 12), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
WATCHED = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.chmod")

IMPORTED = (
    *("accelerate", "sklearn.metrics", "sklearn.model_selection", "torchvision.transforms.v2"),
    *(
        "torchgraft.finetuning.engine",
        "torchgraft.finetuning.learning_data",
        "torchgraft.finetuning.tasks.learning",
    ),
    *("torchgraft.finetuning.recipes.full", "torchgraft.finetuning.recipes.lp_ft"),
    *("torchgraft.finetuning.recipes.gradual", "torchgraft.saving", "torchgraft.surgery"),
)
"""Once here, rather than in every life."""

RUNS: dict[str, dict[str, Any]] = {
    "all options": {
        "recipe": "full",
        "epochs": 3,
        "lr": 0.01,
        "ema": 0.9,
        "mixup": 0.3,
        "cutmix": 0.5,
        "accumulate": 2,
        "label_smoothing": 0.1,
        "freeze_bn": False,
        "class_weights": "balanced",
        "augment": "trivial",
        "checkpoint_every": 1,
    },
    "phases": {"recipe": "lp-ft", "epochs": 2, "lr": 0.01, "checkpoint_every": 2, "freeze_bn": False},
    "by time": {"recipe": "full", "epochs": 4, "lr": 0.3, "optimizer": "sgd", "clip": None},
    "gradual": {"recipe": "gradual", "epochs": 3, "lr": 0.01, "checkpoint_every": 1},
}
"""Arguments of `finetune`: each of its means of changing a run is in one of them."""


class Dropping(nn.Module):
    """Has batch statistics, random numbers of PyTorch, Python and numpy, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2)
        self.bn = nn.BatchNorm2d(6)
        self.body = nn.Conv2d(6, 8, 3)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        if self.training:
            x = x * (1 + 0.01 * random.random()) + 0.01 * float(np.random.rand())
        return self.head(self.dropout(torch.relu(self.body(x)).mean(dim=(2, 3))))


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Dropping().eval()
    attach_info(made, ModelInfo(preprocessing=SIZE))
    return made


def photos() -> tuple[list[np.ndarray], list[str]]:
    bright = [index % 3 == 0 for index in range(30)]
    noise = np.random.default_rng(0).integers(0, 120, (30, 14, 16, 3))
    images = [(noise[i] + (110 if b else 40)).astype(np.uint8) for i, b in enumerate(bright)]
    return images, ["bright" if b else "dark" for b in bright]


def train(kind: str, place: Path) -> None:
    """One life of a run, in `place / "run"`; what comes of it is written beside that."""
    result = finetune(
        model(), photos(), **RUNS[kind], batch_size=5, seed=3, val=0.3, out=place / "run", resume=True
    )
    save_file({name: t.contiguous() for name, t in result.model.state_dict().items()}, place / "weights")
    told = [{**epoch.to_json(), "seconds": 0} for epoch in result.history]
    (place / "told").write_text(json.dumps([told, result.best_epoch, result.evaluation.to_json()]))


def life(kind: str, place: Path, points: int) -> bool:
    """Whether the run was finished; it was killed at that point otherwise."""
    child = os.fork()
    if child == 0:
        try:
            left = points

            def count(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal left
                if event in WATCHED and arguments and str(place) in str(arguments[0]):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            warnings.simplefilter("ignore")
            train(kind, place)
            os.write(2, f"left {left}\n".encode()) if points == COUNTED else None
            os._exit(0)
        except BaseException as error:  # whatever it is, it is told
            os.write(2, f"{kind}: {error!r}\n".encode())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"{kind}: the run failed")
    return os.WIFEXITED(status)


COUNTED = 1_000_000


def outcome(place: Path) -> dict[str, Any]:
    """All that has to be the same, whether a run was killed or not."""
    run = place / "run"
    steps = [json.loads(line) for line in lines(run / "steps.jsonl")]
    return {
        "weights": load_file(place / "weights"),
        "saved model": load_file(run / "model" / "model.safetensors"),
        "told": json.loads((place / "told").read_text()),
        "history": [{**json.loads(line), "seconds": 0} for line in lines(run / "history.jsonl")],
        "steps": [{**step, "seconds": 0} for step in steps],
        "metrics": json.loads((run / "metrics.json").read_text()),
        "status": json.loads((run / "config.json").read_text())["status"],
        "checkpoints": sorted(path.name for path in (run / "checkpoints").glob("[!.]*")),
    }


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    problems = []
    for key, value in expected.items():
        other = found[key]
        if isinstance(value, dict) and any(isinstance(entry, torch.Tensor) for entry in value.values()):
            same = value.keys() == other.keys() and all(torch.equal(value[k], other[k]) for k in value)
        else:
            same = value == other
        if not same:
            problems.append(f"{key}: {value!r:.1000} became {other!r:.1000}")
    return problems


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)  # a process that is forked has none of OpenMP's threads, and would wait for them
    for module in IMPORTED:
        import_module(module)
    chance = random.Random(seed)
    killed = lives = 0
    problems: list[str] = []
    for number, kind in enumerate(RUNS):
        quiet = folder / f"quiet-{number}"
        quiet.mkdir()
        points = counted(kind, quiet)
        expected = outcome(quiet)
        wanted = kills // len(RUNS) + (number < kills % len(RUNS))
        while wanted > 0:
            place = folder / "killed"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            finished = False
            while not finished:  # killed again and again until as many kills are done
                most = points if wanted > 0 else COUNTED - 1
                finished = life(kind, place, chance.randint(1, most) if wanted > 0 else most)
                lives += 1
                killed += not finished
                wanted -= not finished
            problems += [f"{kind}: {key}" for key in differences(expected, outcome(place))]
    json.dump({"kills": killed, "lives": lives, "problems": problems}, sys.stdout)


def counted(kind: str, place: Path) -> int:
    """How many points there are at which an uninterrupted run can be killed."""
    reading, writing = os.pipe()
    kept = os.dup(2)
    os.dup2(writing, 2)
    try:
        life(kind, place, COUNTED)
    finally:
        os.dup2(kept, 2)
        os.close(writing)
    text = b""
    while block := os.read(reading, 4096):
        text += block
    os.close(reading)
    return COUNTED - int(text.decode().rsplit("left ", 1)[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
