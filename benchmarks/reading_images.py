"""Reading images for training: ours beside PIL, torchvision and timm's transform, in milliseconds a photo.

Prints Markdown. Each number is a median over turns in which all contenders ran one after the other, in
rotating order, in one thread; the check before training, as it is, in as many as there are cores. Files are
in the page cache. Photos are generated: a smooth picture with grain, JPEG of quality 90. What is said to be
equal is compared before it is timed.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps
from timm.data import create_transform
from torchvision.transforms import InterpolationMode, v2

from torchgraft.finetuning.images import Images, keep_readable
from torchgraft.finetuning.images.duplicates import find_duplicates
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.finetuning.inputs.batches import Inputs, batches
from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.model_info import Preprocessing

HOW = Preprocessing()
SCALE = (0.35, 1.0)
SIZES = {"500 x 375": (500, 375), "2000 x 1500": (2000, 1500)}


def photo(width: int, height: int, seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = random.normal(0, 6, (height, width, 3))
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def written(folder: Path, width: int, height: int, count: int) -> Images:
    folder.mkdir(parents=True)
    paths = [folder / f"{index:04}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        photo(width, height, index % 8).save(path, quality=90)
        path.write_bytes(path.read_bytes() + b"\0" * index)  # 8 pictures, but no two files alike
    labels = tuple(index % 2 for index in range(count))
    return Images(paths, labels, ("a", "b"), tuple(path.name for path in paths))


def medians(turns: int, contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each, in rotating order."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(turns):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            began = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print(
            "| "
            + " | ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row)
            + " |"
        )


def decoders(data: Sequence[bytes], turns: int) -> list[list[object]]:
    """Milliseconds a photo, and the largest difference from PIL's pixels in 255ths."""
    from torchvision.io import ImageReadMode, decode_jpeg

    def pil(file: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))

    def drafted(file: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(file))
        image.draft("RGB", (379, 379))  # what the smallest crop of a 224 x 224 input needs
        return np.asarray(image.convert("RGB"))

    def torchvision(file: bytes) -> np.ndarray:
        tensor = torch.frombuffer(bytearray(file), dtype=torch.uint8)
        return decode_jpeg(tensor, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()

    def turbo(file: bytes) -> np.ndarray:
        return simplejpeg.decode_jpeg(file, colorspace="RGB")

    def fast(file: bytes) -> np.ndarray:
        return simplejpeg.decode_jpeg(file, colorspace="RGB", fastdct=True, fastupsample=True)

    contenders = {
        "PIL": pil,
        "PIL with draft": drafted,
        "torchvision.io (deprecated)": torchvision,
        "simplejpeg (ours)": turbo,
        "simplejpeg, fast transforms": fast,
    }
    found = medians(
        turns, {n: (lambda read=read: [read(file) for file in data]) for n, read in contenders.items()}
    )
    rows: list[list[object]] = []
    for name, read in contenders.items():
        pairs = [(pil(file), read(file)) for file in data]
        same_size = all(one.shape == other.shape for one, other in pairs)
        difference = (
            max(int(np.abs(a.astype(int) - b).max()) for a, b in pairs) if same_size else "other size"
        )
        rows.append([name, 1000 * found[name] / len(data), difference])
    return rows


def inputs(images: Images, turns: int) -> list[list[object]]:
    """Whole ways from a file to a normalised tensor."""
    timms = create_transform(
        (3, 224, 224),
        is_training=False,
        interpolation=HOW.interpolation,
        crop_pct=HOW.crop,
        mean=HOW.mean,
        std=HOW.std,
    )
    torchvisions = v2.Compose(
        [
            v2.RandomResizedCrop(224, scale=SCALE, interpolation=InterpolationMode(HOW.interpolation)),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(HOW.mean, HOW.std),
        ]
    )
    augmentation = Augmentation(HOW, scale=SCALE, seed=0)

    def opened(path: Path) -> Image.Image:
        with path.open("rb") as file:
            return Image.open(file).convert("RGB")

    def by_pil(index: int) -> torch.Tensor:
        return augmentation(ImageOps.exif_transpose(opened(images.items[index])), epoch=1, index=index)

    def quick(index: int) -> torch.Tensor:
        return augmentation(images.image(index, tensors=True), epoch=1, index=index)

    def evaluated(index: int) -> torch.Tensor:
        return evaluation_input(images.image(index), HOW)

    every = range(len(images))
    for index in every:
        torch.testing.assert_close(evaluated(index), timms(opened(images.items[index])), rtol=0, atol=1e-6)
    apart = max(
        ((by_pil(i) - quick(i)).abs() * torch.tensor(HOW.std)[:, None, None]).max().item() * 255
        for i in every
    )
    contenders: dict[str, Callable[[int], object]] = {
        "evaluation: timm's transform": lambda index: timms(opened(images.items[index])),
        "evaluation: ours, equal to it": evaluated,
        "training: torchvision's on PIL": lambda index: torchvisions(opened(images.items[index])),
        "training: ours on PIL": by_pil,
        f"training: ours, on tensors, {apart:.2f} of 255 apart at most": quick,
    }
    found = medians(
        turns, {n: (lambda read=read: [read(i) for i in every]) for n, read in contenders.items()}
    )
    return [[name, 1000 * seconds / len(images)] for name, seconds in found.items()]


def checks(images: Images, turns: int) -> list[list[object]]:
    half = len(images) // 2
    train, val = images.subset(range(half)), images.subset(range(half, len(images)))
    found = medians(
        turns,
        {
            "decoding all in full": lambda: [images.image(index) for index in range(len(images))],
            "ours: all that makes PIL fail, found": lambda: keep_readable(images, channels=3),
            "exact copies across the split": lambda: find_duplicates(train, val),
            "near copies across the split": lambda: find_duplicates(train, val, near=True),
        },
    )
    return [[name, 1000 * seconds / len(images)] for name, seconds in found.items()]


def epochs(images: Images, turns: int) -> list[list[object]]:
    """The first epoch and a later one, with and without pictures kept, by number of workers."""
    rows: list[list[object]] = []
    augmentation = Augmentation(HOW, scale=SCALE, seed=0)
    for workers in (0, 1, 2):
        firsts, laters, withouts = [], [], []
        for _ in range(turns):
            for repeated in (False, True):
                loader = batches(
                    Inputs(images, HOW, augmentation, repeated=repeated), batch_size=32, workers=workers
                )
                times = []
                for _ in range(3):
                    began = time.perf_counter()
                    for _ in loader:
                        pass
                    times.append(1000 * (time.perf_counter() - began) / len(images))
                if repeated:
                    firsts.append(times[0])
                    laters.append(statistics.median(times[1:]))
                else:
                    withouts.append(statistics.median(times[1:]))
        rows.append([workers, *(statistics.median(found) for found in (withouts, firsts, laters))])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--photos", type=int, default=64, help="small ones; of large ones an eighth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="torchvision")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory() as folder:
        for title, (width, height) in SIZES.items():
            count = options.photos if width < 1000 else max(options.photos // 8, 2)
            images = written(Path(folder) / title, width, height, count)
            data = [path.read_bytes() for path in images.items[:8]]
            size = f"{title}, {len(data[0]) / 1024:.0f} KiB"
            table(f"Decoding, {size}", ["", "ms", "pixels differ by"], decoders(data, options.turns))
            table(f"From file to input, {size}", ["", "ms"], inputs(images, options.turns))
            table(f"Before training, {size}", ["", "ms"], checks(images, options.turns))
            header = ["workers", "nothing kept", "kept: first epoch", "kept: later ones"]
            table(f"Epochs of training, ms a photo, {size}", header, epochs(images, min(options.turns, 3)))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
