"""A process saves without pause, is killed at a random moment, and what is there is looked at.

    python kill_while_saving.py FOLDER KILLS SEED [KIND…]

Version `n` of everything holds the number `n` in every tensor and every text, so that a mixture shows. Prints
how often what was there was the last version that was reported complete, or the one after it; lost, if
it can't be read or is older; mixed, if it is of several.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import save_torch_model
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft.finetuning.evaluations.class_evaluation import measure_classes
from torchgraft.finetuning.runs.run_folder import RunFolder

SIDE = 300
LAYERS = 6


class Layers(nn.Sequential):
    def __init__(self, version: int = 0) -> None:
        super().__init__(*(nn.Linear(SIDE, SIDE) for _ in range(LAYERS)))
        for parameter in self.parameters():
            nn.init.constant_(parameter, version)
        tg.describe(self, labels=[str(version)] * SIDE)


def tensors(version: int) -> dict[str, torch.Tensor]:
    return {f"{i}": torch.full((SIDE, SIDE), float(version)) for i in range(LAYERS)}


def evaluation(version: int) -> object:
    return measure_classes(np.full((2, 2), 0.5), np.asarray([0, 1]), [str(version), "other"])


def convert(version: int, path: Path, **options: object) -> None:
    tg.convert(tg.Checkpoint.from_state_dict(tensors(version)), path, **options)  # type: ignore[arg-type]


def save_run(version: int, path: Path) -> None:
    folder = RunFolder(path, overwrite=True)
    if not path.exists():
        folder.start({})
    folder.keep(Layers(version), version, evaluation(version))  # type: ignore[arg-type]


def save_beside(version: int, path: Path, **options: object) -> None:
    path.mkdir(exist_ok=True)
    (path / "notes.txt").write_text("mine")
    tg.save(Layers(version), path, **options)  # type: ignore[arg-type]


SAVERS: dict[str, Callable[[int, Path], object]] = {
    "file.safetensors": lambda n, path: tg.save(Layers(n), path),
    "file.pth": lambda n, path: tg.save(Layers(n), path),
    "whole.pth": lambda n, path: tg.save(Layers(n), path, whole=True),
    "folder": lambda n, path: tg.save(Layers(n), path),
    "shards": lambda n, path: tg.save(Layers(n), path, shard_size=SIDE * SIDE * (8 + n % 3 * 4)),
    "folder beside others": save_beside,
    "shards beside others": lambda n, path: save_beside(n, path, shard_size=SIDE * SIDE * 8),
    "converted.safetensors": convert,
    "converted.pth": convert,
    "converted shards": lambda n, path: convert(n, path, shard_size=SIDE * SIDE * 8),
    "run": save_run,
}


def save_by_hub(version: int, path: Path) -> None:
    path.mkdir(exist_ok=True)
    save_torch_model(Layers(version), path, max_shard_size=SIDE * SIDE * (8 + version % 3 * 4))


PEERS: dict[str, Callable[[int, Path], object]] = {
    "peer.safetensors": lambda n, path: save_file(Layers(n).state_dict(), path),
    "peer.pth": lambda n, path: torch.save(Layers(n).state_dict(), path),
    "peer shards": save_by_hub,
}
"""What other libraries do, to see that losses are found; only where they are named."""


def found(kind: str, path: Path) -> set[float]:
    """Every version that is to be seen there, by the formats' own readers and by ours."""
    seen: set[float] = set()
    if path.suffix == ".pth":
        loaded = torch.load(path, weights_only=kind != "whole.pth")
        for tensor in (loaded.state_dict() if kind == "whole.pth" else loaded).values():
            seen |= values(tensor)
        return seen
    folder = path / "model" if kind == "run" else path
    files = [path]
    if folder.is_dir():
        index = folder / "model.safetensors.index.json"
        files = [folder / "model.safetensors"]
        if not files[0].exists():
            places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = [folder / name for name in sorted(set(places.values()))]
        if (folder / "torchgraft.json").exists():
            seen |= described((folder / "torchgraft.json").read_text(encoding="utf-8"))
    names = []
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (it is no dict)
                names.append(name)
                seen |= values(opened.get_tensor(name))
            seen |= described((opened.metadata() or {}).get("torchgraft", "{}"))
    if not kind.startswith(("converted", "peer")):
        with torch.device("meta"):
            blank = Layers.__new__(Layers)
            nn.Sequential.__init__(blank, *(nn.Linear(SIDE, SIDE) for _ in range(LAYERS)))
        again = tg.load(folder, model=blank)
        for tensor in again.state_dict().values():
            seen |= values(tensor)
        seen.add(float((tg.info_of(again).labels or ("-1",))[0]))
    if kind == "run" and (path / "metrics.json").exists():
        seen.add(json.loads((path / "metrics.json").read_text(encoding="utf-8"))["epoch"])
    expected = LAYERS if kind.startswith("converted") else 2 * LAYERS
    if len(names) != expected or len(set(names)) != expected:
        raise ValueError(f"{len(names)} tensors instead of {expected}")
    return seen


def values(tensor: torch.Tensor) -> set[float]:
    return {tensor.min().item(), tensor.max().item()}


def described(text: str) -> set[float]:
    about = json.loads(text)
    labels = {float(label) for label in (about.get("info") or {}).get("labels") or ()}
    return labels | ({float(about["notes"]["epoch"])} if "notes" in about else set())


def save_for_ever(kind: str, path: Path, start: int, report: int) -> None:
    version = start
    while True:
        (SAVERS | PEERS)[kind](version, path)
        os.write(report, version.to_bytes(4, "little"))
        version += 1


def kill_once(kind: str, path: Path, start: int, chance: random.Random, seconds: float) -> int:
    """The last version that was reported complete."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            save_for_ever(kind, path, start, writing)
        except BaseException as error:  # whatever it is, it is told
            os.write(2, f"{kind}: {error!r}\n".encode())
        finally:
            os._exit(1)
    os.close(writing)
    until = time.monotonic() + chance.uniform(0, 3) * seconds
    last = start - 1
    while (left := until - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            raw = os.read(reading, 4)
            if not raw:
                break
            last = int.from_bytes(raw, "little")
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while raw := os.read(reading, 4):
        last = int.from_bytes(raw, "little")
    os.close(reading)
    if os.WIFEXITED(status):
        raise RuntimeError(f"{kind}: saving failed")
    return last


def main(folder: Path, kills: int, seed: int, kinds: list[str]) -> None:
    torch.set_num_threads(1)  # a process that is forked has none of OpenMP's threads, and would wait for them
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for number, kind in enumerate(kinds):
        place = folder / str(number)
        place.mkdir()
        path = place / kind
        begun = time.monotonic()
        (SAVERS | PEERS)[kind](1, path)
        seconds = max(0.005, time.monotonic() - begun)
        last = 1
        for _ in range(kills // len(kinds) + (number < kills % len(kinds))):
            last = kill_once(kind, path, last + 1, chance, seconds)
            counts["kills"] += 1
            temporary = list(place.rglob(".*.part"))
            counts["killed while writing"] += bool(temporary)
            try:
                seen = found(kind, path)
            except Exception as error:
                counts["lost"] += 1
                problems.append(f"{kind}: {error}")
                continue
            if len(seen) != 1:
                counts["mixed"] += 1
                problems.append(f"{kind}: {sorted(seen)} after {last}")
            elif seen <= {last, last + 1}:
                counts["old" if seen == {last} else "new"] += 1
                last = int(seen.pop())
            else:
                counts["lost"] += 1
                problems.append(f"{kind}: {seen} after {last}")
        (SAVERS | PEERS)[kind](last + 1, path)
        counts["left behind"] += len([p for p in place.rglob("*") if p.name.startswith(".")])
        counts["left behind"] += max(0, len(list(place.rglob("weights-*"))) - 1)
    print(json.dumps({**counts, "problems": problems[:20]}))  # noqa: T201


if __name__ == "__main__":
    warnings.simplefilter("error")
    import logging

    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] or list(SAVERS))
