"""Run folders as `finetune` leaves them, made up without training: for tests of pages and of the viewer."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def config(
    path: Path, *, status: str = "running", classes: Sequence[str] = ("cat", "dog", "owl"), **more: Any
) -> None:
    """Write `config.json`."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(
        json.dumps(
            {
                "torchgraft_run": 2,
                "status": status,
                "model": {
                    "class": "timm.models.resnet.ResNet",
                    "builder": "timm/resnet18",
                    "surgery": [],
                    "weights": {"source": "resnet18.pth", "format": "torch zip"},
                },
                "data": "/home/me/photos",
                "started": "2026-03-01T10:00:00+00:00",
                "arguments": {"recipe": "full", "epochs": 10, "batch_size": 32, "lr": 0.001, "seed": 0},
                "counts": {"train": 400, "val": 100, "skipped": 1},
                "skipped": ["broken.jpg"],
                "classes": list(classes),
                "preprocessing": {"size": [224, 224], "crop": 0.875, "interpolation": "bicubic"},
                "adapted": "head fc: 1,000 → 3 classes",
                "groups": [
                    {
                        "phase": "",
                        "name": "backbone",
                        "tensors": 60,
                        "parameters": 11176512,
                        "lr": 1e-4,
                        "weight_decay": 0.05,
                        "frozen": False,
                    },
                    {
                        "phase": "",
                        "name": "head",
                        "tensors": 2,
                        "parameters": 1539,
                        "lr": 1e-3,
                        "weight_decay": 0.05,
                        "frozen": False,
                    },
                ],
                "versions": {"torchgraft": "0.1.0", "torch": "2.14.1"},
                **more,
            }
        ),
        encoding="utf-8",
    )


def add_epoch(
    path: Path,
    number: int,
    *,
    epochs: int = 10,
    seed: int = 0,
    lr: dict[str, float] | None = None,
    **val: float,
) -> None:
    """Append an epoch to `history.jsonl`, and its steps to `steps.jsonl`."""
    noise = random.Random(1000 * seed + number)
    fall = math.exp(-number / 4)
    measures = val or {
        "loss": 0.45 + fall + noise.gauss(0, 0.02),
        "accuracy": 0.9 - 0.5 * fall + noise.gauss(0, 0.01),
        "balanced_accuracy": 0.88 - 0.5 * fall + noise.gauss(0, 0.01),
        "macro_f1": 0.87 - 0.5 * fall + noise.gauss(0, 0.01),
    }
    entry = {
        "epoch": number,
        "train_loss": 0.3 + fall,
        **{f"val_{name}": value for name, value in measures.items()},
        "lr": lr or {"backbone": 1e-4 * fall, "head": 1e-3 * fall},
        "seconds": 12.5,
        "epochs": epochs,
    }
    with (path / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    with (path / "steps.jsonl").open("a", encoding="utf-8") as file:
        for i in range(13):
            step = 13 * (number - 1) + i + 1
            share = 0.5 * (1 + math.cos(math.pi * step / (13 * epochs)))
            rates = lr or {name: rate / fall * share for name, rate in entry["lr"].items()}
            loss = 0.3 + math.exp(-step / 52) + abs(noise.gauss(0, 0.12))
            row = {"step": step, "steps": 13 * epochs, "epoch": number, "phase": 1, "loss": loss, "lr": rates}
            file.write(json.dumps({**row, "seconds": step}) + "\n")


def class_metrics(
    path: Path, classes: Sequence[str], *, epoch: int, seed: int = 0, pictures: bool = True
) -> None:
    """Write `metrics.json` of a classifier that confuses neighbours, and its worst mistakes."""
    noise, n = random.Random(seed), len(classes)
    counts = [[0] * n for _ in range(n)]
    for i in range(n):
        support = noise.randint(8, 30)
        for _ in range(support):
            j = i if noise.random() < 0.85 else (i + noise.choice([1, -1, 1, 5])) % n
            counts[i][j] += 1
    right, total = sum(counts[i][i] for i in range(n)), sum(map(sum, counts))
    per_class = []
    for i, name in enumerate(classes):
        predicted = sum(row[i] for row in counts)
        precision, recall = counts[i][i] / max(predicted, 1), counts[i][i] / sum(counts[i])
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        per_class.append(
            {"name": name, "precision": precision, "recall": recall, "f1": f1, "support": sum(counts[i])}
        )
    bins = []
    for i in range(15):
        filled = i >= 15 // max(n, 2)
        sure = (i + 0.5) / 15
        bins.append(
            {
                "low": i / 15,
                "high": (i + 1) / 15,
                "count": (i + 1) ** 2 if filled else 0,
                "confidence": sure if filled else None,
                "accuracy": max(0.0, sure - 0.11 + 0.03 * (i % 3)) if filled else None,
            }
        )
    mistakes = [
        {
            "index": 7 * i,
            "name": f"{classes[i % n]}/{i:03}.jpg",
            "path": None,
            "truth": classes[i % n],
            "guess": classes[(i + 1) % n],
            "probability": 0.99 - 0.02 * i,
            "loss": 5.0 - 0.1 * i,
        }
        for i in range(8)
    ]
    f1s = [row["f1"] for row in per_class]
    recalls = [row["recall"] for row in per_class]
    metrics = {
        "epoch": epoch,
        "task": "classes",
        "count": total,
        "accuracy": right / total,
        "balanced_accuracy": sum(recalls) / n,
        "macro_f1": sum(f1s) / n,
        "log_loss": 0.48,
        "ece": 0.08,
        "classes": list(classes),
        "per_class": per_class,
        "confusion": counts,
        "calibration": {"ece": 0.08, "max_error": 0.1, "bins": bins},
        "mistakes": mistakes,
        "skipped": [],
    }
    (path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    if pictures:
        _pictures(path / "mistakes", epoch, [entry["index"] for entry in mistakes])


def other_metrics(path: Path, task: str, *, epoch: int) -> None:
    """Write `metrics.json` of a run that is no classifier of one class an image."""
    names = ["person", "bicycle", "car", "a very long name of a class of things, as some data sets have them"]
    mistake = {
        "index": 3,
        "name": "03.png",
        "path": None,
        "truth": "12.3",
        "guess": "44.1",
        "probability": None,
        "loss": 9.1,
    }
    metrics: dict[str, Any] = {
        "epoch": epoch,
        "task": task,
        "count": 80,
        "loss": 0.31,
        "classes": names,
        "skipped": [],
    }
    if task == "regression":
        metrics |= {
            "mae": 2.41,
            "rmse": 3.3,
            "r2": 0.71,
            "per_target": [
                {"name": name, "mae": 2.1 + i, "rmse": 3.1 + i, "r2": 0.7 if i else None, "bias": -0.2 * i}
                for i, name in enumerate(names)
            ],
            "mistakes": [mistake],
        }
    elif task == "segmentation":
        metrics |= {
            "mean_iou": 0.61,
            "pixel_accuracy": 0.88,
            "mean_accuracy": 0.7,
            "per_class": [
                {
                    "name": name,
                    "iou": 0.9 - 0.2 * i if i < 3 else None,
                    "recall": 0.8,
                    "precision": 0.7,
                    "pixels": 10**i * 1234,
                }
                for i, name in enumerate(names)
            ],
            "mistakes": [{**mistake, "truth": "", "guess": "41.2% of pixels right"}],
        }
    else:
        metrics |= {
            "mean_average_precision": 0.74,
            "macro_f1": 0.66,
            "micro_f1": 0.7,
            "exact_match": 0.4,
            "ece": 0.05,
            "threshold": 0.5,
            "per_class": [
                {
                    "name": name,
                    "average_precision": 0.9 - 0.2 * i,
                    "precision": 0.8,
                    "recall": 0.6,
                    "f1": 0.69,
                    "support": 30 - i,
                }
                for i, name in enumerate(names)
            ],
            "mistakes": [{**mistake, "truth": "car, person", "guess": "bicycle", "probability": 0.91}],
        }
    (path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def finished(
    path: Path,
    *,
    classes: Sequence[str] = ("cat", "dog", "owl"),
    epochs: int = 10,
    seed: int = 0,
    **more: Any,
) -> Path:
    """A whole run."""
    config(
        path,
        status="finished",
        classes=classes,
        seconds=130.2,
        settings={"epochs": epochs, "warmup": 0.1},
        **more,
    )
    for number in range(1, epochs + 1):
        add_epoch(path, number, epochs=epochs, seed=seed)
    class_metrics(path, classes, epoch=max(1, epochs - 1), seed=seed)
    return path


def jpeg(seed: int, size: int = 96) -> bytes:
    """A small picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    stream = io.BytesIO()
    coarse.save(stream, "JPEG")
    return stream.getvalue()


def _pictures(folder: Path, epoch: int, indices: Sequence[int]) -> None:
    folder.mkdir(exist_ok=True)
    for index in indices:
        (folder / f"{index}.jpg").write_bytes(jpeg(index))
        (folder / f"{index}-saliency.jpg").write_bytes(jpeg(index + 1))
    files = {str(i): {"picture": f"{i}.jpg", "saliency": f"{i}-saliency.jpg"} for i in indices}
    (folder / "mistakes.json").write_text(json.dumps({"epoch": epoch, "pictures": files}), encoding="utf-8")
