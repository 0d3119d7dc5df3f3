"""Fine-tune on images of one's own, save the model, load it again, use it.

The images are photos of solar cells from a public data set, written into one folder a class. How much of the
result the pretrained weights account for is what `torchgraft demo` measures, with several seeds.
"""

import tempfile
from pathlib import Path

import torch
from PIL import Image

import torchgraft as tg
from torchgraft.demo.material import lite0_weights, solar_cells

CELLS, HELD_OUT = 200, 60
small = tg.Preprocessing(size=(96, 96), crop=1.0)  # fast on a CPU; these weights were trained with 224


def write(folder: Path, count: int, skip: int = 0) -> Path:
    cells = solar_cells(count, skip=skip)
    for index, (image, label) in enumerate(zip(cells.images, cells.labels)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / label / f"{index:03}.png")
    return folder


with tempfile.TemporaryDirectory() as temporary:
    photos = write(Path(temporary, "photos"), CELLS)
    unseen = write(Path(temporary, "unseen"), HELD_OUT, skip=CELLS)
    run = Path(temporary, "run")

    model = tg.create_model("timm/tf_efficientnet_lite0", weights=lite0_weights(), preprocessing=small)
    result = tg.finetune(model, photos, recipe="linear-probe", out=run)
    print(result)
    print(f"  with {', '.join(sorted(path.name for path in run.iterdir()))}")

    model = tg.load(run / "model")
    scores = tg.evaluate(model, unseen)
    print(f"{HELD_OUT} cells that no run has seen: {scores.summary()}")
    asked = [next((unseen / label).iterdir()) for label in ("defective", "functional")]
    for path, prediction in zip(asked, tg.predict(model, asked)):
        print(f"  a {path.parent.name} cell: {prediction.probabilities[0]:.0%} {prediction.labels[0]}")

    tg.save(model, Path(temporary, "cells.safetensors"))
    again = tg.load(Path(temporary, "cells.safetensors"))
    image = torch.rand(1, 3, 96, 96)
    assert torch.equal(again(image), result.model(image))

assert result.evaluation.accuracy > 0.75
print("The saved model gives what the trained one gave, bit for bit.")
