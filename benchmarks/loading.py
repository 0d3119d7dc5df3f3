"""From a file to a model that is ready: how long it takes, and how much memory, next to the usual ways.

    python loading.py [--rounds N] [--only WORD …] [--large] [--json FILE]

Each way runs in turn within one process, in an order that rotates, after one round that is not counted; files
are in the page cache. A time ends (call) when the way returns, (touched) when every parameter was summed,
(written) when every parameter was also written to once. Before anything is timed, all ways are held to the
same weights. Peaks are of processes that do one way once, less what a process takes that imports the same and
loads nothing; pages of the file, which are the system's, are left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

import torchgraft as tg

MODELS = ("resnet18", "resnet152", "vit_b_16")
LARGE = ("convnext_large", "vit_h_14")
HEADS = {"resnet18": "fc", "resnet152": "fc", "vit_b_16": "heads.head", "vit_h_14": "heads.head"}
HEADS["convnext_large"] = "classifier.2"
STEMS = {"resnet18": "conv1", "resnet152": "conv1", "vit_b_16": "conv_proj", "vit_h_14": "conv_proj"}
STEMS["convnext_large"] = "features.0.0"

Way = Callable[[str, Path, bool], nn.Module]


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def by_recipe(name: str, path: Path, adapted: bool) -> nn.Module:
    """What tutorials do: build, load, keep what fits, exchange the head and the stem by hand."""
    model = torchvision.models.get_model(name, weights=None)
    if adapted:
        for place, change in ((HEADS[name], _head), (STEMS[name], _stem)):
            parent, _, leaf = place.rpartition(".")
            owner = model.get_submodule(parent)
            setattr(owner, leaf, change(getattr(owner, leaf)))
    own, weights = model.state_dict(), _tensors(path)
    if adapted:
        key = f"{STEMS[name]}.weight"
        weights[key] = weights[key].repeat(1, 2, 1, 1)[:, :4] * 0.75
    model.load_state_dict(
        {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape},
        strict=False,
    )
    return model.eval()


def _head(old: nn.Linear) -> nn.Linear:
    return nn.Linear(old.in_features, 21)


def _stem(old: nn.Conv2d) -> nn.Conv2d:
    return nn.Conv2d(4, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)


def mapped(name: str, path: Path, adapted: bool) -> nn.Module:
    sizes = {"in_channels": 4, "num_classes": 21} if adapted else {}
    return tg.create_model(f"torchvision/{name}", weights=path, **sizes)


def read(name: str, path: Path, adapted: bool) -> nn.Module:
    sizes = {"in_channels": 4, "num_classes": 21} if adapted else {}
    return tg.create_model(f"torchvision/{name}", weights=path, for_training=True, **sizes)


WAYS: dict[str, Way] = {"recipe": by_recipe, "mapped": mapped, "for training": read}


def equal(name: str, path: Path, adapted: bool) -> None:
    """Refuse to time ways that don't give the same model, but for a head that starts afresh."""
    states = [way(name, path, adapted).state_dict() for way in WAYS.values()]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        for key, value in state.items():
            fresh = adapted and key.startswith(f"{HEADS[name]}.")
            assert fresh or torch.equal(value, states[0][key]), key


def timed(way: Way, name: str, path: Path, adapted: bool) -> tuple[float, float, float]:
    gc.collect()
    begun = time.perf_counter()
    model = way(name, path, adapted)
    call = time.perf_counter() - begun
    with torch.no_grad():
        sum(float(parameter.sum()) for parameter in model.parameters())
        touched = time.perf_counter() - begun
        for parameter in model.parameters():
            parameter.mul_(1.0)
    return call, touched, time.perf_counter() - begun


def peak(way: str, name: str, path: Path, adapted: bool, *, writing: bool) -> int:
    """Bytes of the process's own memory at the most, beyond one that loads nothing."""
    marks = []
    for one in ("nothing", way):
        command = [
            sys.executable,
            __file__,
            "--peak",
            one,
            name,
            str(path),
            str(int(adapted)),
            str(int(writing)),
        ]
        marks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return marks[1] - marks[0]


def _print_peak(way: str, name: str, path: str, adapted: str, writing: str) -> None:
    from torchgraft import create_model  # noqa: F401  # imported whatever the way

    if way != "nothing":
        model = WAYS[way](name, Path(path), bool(int(adapted)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sum()
                if int(writing):
                    parameter.mul_(1.0)
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    own = {words[0]: int(words[1]) for words in lines if words[0] in ("VmHWM:", "RssFile:")}
    print((own["VmHWM:"] - own["RssFile:"]) * 1024)


def files(folder: Path, name: str) -> list[Path]:
    torch.manual_seed(0)
    state = torchvision.models.get_model(name, weights=None).state_dict()
    torch.save(state, folder / f"{name}.pth")
    save_file(state, folder / f"{name}.safetensors")
    return [folder / f"{name}.pth", folder / f"{name}.safetensors"]


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        _print_peak(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = []
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {os.cpu_count()} cores")
    print("seconds to call / touched / written (of the recipe's); peak of own memory over the weights' size")
    with tempfile.TemporaryDirectory() as folder:
        for name in (*MODELS, *(LARGE if arguments.large else ())):
            if arguments.only and not any(word in name for word in arguments.only):
                continue
            for path in files(Path(folder), name):
                for adapted in (False, True):
                    equal(name, path, adapted)
                    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
                    order = list(WAYS)
                    for number in range(arguments.rounds + 1):
                        for way in order:
                            times = timed(WAYS[way], name, path, adapted)
                            if number:
                                found[way].append(times)
                        order = [*order[1:], order[0]]
                    size = path.stat().st_size
                    middle = {
                        way: [statistics.median(column) for column in zip(*times, strict=True)]
                        for way, times in found.items()
                    }
                    print(f"{name}{path.suffix}{', 4 channels, 21 classes' if adapted else ''}")
                    for way, times in middle.items():
                        share = [one / usual for one, usual in zip(times, middle["recipe"], strict=True)]
                        most = peak(way, name, path, adapted, writing=way != "mapped") / size
                        shown = "  ".join(f"{t:7.3f} ({s:.2f})" for t, s in zip(times, share, strict=True))
                        print(f"  {way:13} {shown}   {most:.2f}", flush=True)
                        results.append(
                            {"model": name, "file": path.suffix, "adapted": adapted, "way": way}
                            | {"seconds": times, "share": share, "peak": most, "all": found[way]}
                        )
                path.unlink()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
