"""Change a pretrained model a little: 3 → 4 input channels, 1000 → 21 classes, everything else kept.

No layer is replaced or renamed. Classes that the old head knew by name keep their rows.
"""

import copy

import torch

import torchgraft as tg
from torchgraft.demo.material import imagenet_names, lite0_weights

names = imagenet_names()
original = tg.create_model("timm/tf_efficientnet_lite0", weights=lite0_weights(), source_labels=names)
image = torch.rand(2, 3, 224, 224)

# Twenty-one classes: eighteen of ImageNet's, three of our own.
labels = [*names[281:293], *names[294:300], "red squirrel", "roe deer", "empty frame"]
changed = tg.adapt(copy.deepcopy(original), in_channels=4, labels=labels, in_mode="zeros")
for step in tg.info_of(changed).surgery:
    print("changed:", ", ".join(f"{key}={value}" for key, value in step.items()))

before, after = original.state_dict(), changed.state_dict()
same = sum(torch.equal(before[key], after[key]) for key in before if before[key].shape == after[key].shape)
print(f"{same} of {len(before)} tensors are the same, bit for bit; the others have a new size:")
for key in before:
    if before[key].shape != after[key].shape:
        print(f"  {key}: {list(before[key].shape)} → {list(after[key].shape)}")

# "zeros": the new channel changes nothing until it is trained, so known classes keep their scores.
four = torch.cat([image, torch.rand(2, 1, 224, 224)], dim=1)
known = [names.index(label) for label in labels[:18]]
with torch.no_grad():
    gap = (original(image)[:, known] - changed(four)[:, :18]).abs().max()
print(f"largest difference in the scores of the 18 classes carried over: {gap:.2g}")
assert gap < 1e-4

# The other modes share the weight out. An image with equal channels then gives the same response.
grey = torch.rand(2, 1, 224, 224)
expected = original.conv_stem(grey.expand(-1, 3, -1, -1))
for mode in ("repeat", "mean", "sum"):
    model = tg.adapt(copy.deepcopy(original), in_channels=6, in_mode=mode)
    response = model.conv_stem(grey.expand(-1, 6, -1, -1))
    gap = (response - expected).abs().max() / expected.abs().max()
    print(f"3 → 6 channels, {mode}: the stem's response to a grey image changes by {gap:.1g} of its largest")
    assert gap < 1e-5

print(f"4 channels, {changed(four).shape[1]} classes, 18 of them already known.")
