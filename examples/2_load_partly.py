"""Load what fits, whatever it is called, and be told of every tensor that stays as it was.

First real weights whose names differ from the model's in every layer. Then a training run's checkpoint of
which only the encoder is wanted.
"""

import tempfile
from pathlib import Path

import timm
import torch
from torch import nn

import torchgraft as tg
from torchgraft.demo.material import lite0_weights

# Other names. This is what a non-strict load does with the same file and model:
model = timm.create_model("tf_efficientnet_lite0").eval()
missed = model.load_state_dict(torch.load(lite0_weights(), weights_only=True), strict=False).missing_keys
print(f"strict=False: {len(missed)} of {len(model.state_dict())} tensors not loaded, no error")

plan = tg.plan(model, lite0_weights())
print(f"torchgraft:   {plan.summary}")
print(f"  matched by {plan.match}, for example")
for entry in plan.targets[:2] + plan.targets[-2:]:
    print(f"    {entry.source} → {entry.name}: {entry.why}")
plan.apply()


# A part. The run saved an encoder and a projection from a wrapped model, with the optimizer's state.
def encoder() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1)
    )


class Pretrainer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.projection = nn.Linear(32, 128)


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.decoder = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


with tempfile.TemporaryDirectory() as folder:
    pretrainer = nn.DataParallel(Pretrainer())
    optimizer = torch.optim.AdamW(pretrainer.parameters())
    sum(p.square().sum() for p in pretrainer.parameters()).backward()
    optimizer.step()
    run = {"epoch": 7, "model": pretrainer.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(run, Path(folder, "run.ckpt"))

    checkpoint = tg.open(Path(folder, "run.ckpt"))
    print(f"run.ckpt: the weights are {checkpoint.part!r}, {checkpoint.why}")
    segmenter = Segmenter()
    before = {key: value.clone() for key, value in segmenter.state_dict().items()}
    try:
        tg.graft(segmenter, checkpoint)
    except tg.CoverageError as refusal:
        print(f"refused: {refusal.what}\n  → {refusal.hint}")
    assert all(torch.equal(value, before[key]) for key, value in segmenter.state_dict().items())

    report = tg.graft(segmenter, checkpoint, allow_fresh="decoder")
    print(f"declared: {report}")
    for entry in report.plan.sources:
        if entry.status == "unused":
            print(f"  unused: {entry.name}: {entry.why}")

print("The decoder is new because it was declared so. Nothing else is.")
