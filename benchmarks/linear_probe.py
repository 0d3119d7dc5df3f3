"""A linear probe of 20 epochs on real photos, beside the loops that people write for it.

    python benchmarks/linear_probe.py [--images N] [--rounds N] [--threads N]

EfficientNet-Lite0 with published weights, solar cells at 128 px. Each way ends with a trained head and what
it scores on the photos that were held out; decoding and resizing are in every time, in ours also checking the
photos. One forward pass of the frozen model over the same photos, with what the head costs alone, is the
least that a probe can take.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from statistics import median

import timm
import torch
from interleaved import medians, spread
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import torchgraft as tg
from torchgraft.demo.material import lite0_weights, solar_cells
from torchgraft.finetuning.images import Images, parts_of, split
from torchgraft.finetuning.inputs.batches import Inputs

EPOCHS = 20
BATCH = 32
HOW = tg.Preprocessing(size=(128, 128), mean=(0.5,), std=(0.5,), crop=1.0)


def backbone() -> nn.Module:
    """One channel in, two classes out, the rest as published."""
    model = timm.create_model("tf_efficientnet_lite0")
    tg.graft(model, lite0_weights())
    tg.adapt(model, in_channels=1, num_classes=2)
    return tg.describe(model, labels=["defective", "functional"], preprocessing=HOW)


def accuracy(model: nn.Module, val: Images) -> float:
    model.eval()
    with torch.inference_mode():
        right = sum(
            int((model(inputs).argmax(1) == labels).sum())
            for inputs, labels, _ in DataLoader(Inputs(val, HOW, target=int), batch_size=BATCH)
        )
    return right / len(val)


def usual(model: nn.Module, train: Images) -> nn.Module:
    """Every epoch runs the whole model; only the head has a gradient."""
    model.requires_grad_(False)
    head = model.get_classifier()
    head.requires_grad_(True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    model.eval()  # batch statistics of a frozen backbone stay
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        seen = Inputs(train, HOW, target=int)
        for inputs, labels, _ in DataLoader(seen, BATCH, shuffle=True, generator=generator):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    return model


def ours(model: nn.Module, train: Images, val: Images) -> nn.Module:
    tg.finetune(model, train, val=val, recipe="linear-probe", epochs=EPOCHS, batch_size=BATCH)
    return model


@torch.no_grad()
def forward(model: nn.Module, images: Images) -> torch.Tensor:
    model.eval()
    return torch.cat([model(inputs) for inputs, *_ in DataLoader(Inputs(images, HOW), batch_size=64)])


def head_alone(features: torch.Tensor, labels: torch.Tensor, val: torch.Tensor) -> None:
    """What L-BFGS takes for the head, features given."""
    from torchgraft.finetuning.heads.logistic import fit_logistic

    for head in fit_logistic(features, labels, 2, bias=True, l2=0.1, lr=1.0, rounds=EPOCHS, iterations=5):
        functional.linear(val, head.weight, head.bias).softmax(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cells = solar_cells(options.images)
    train, val = split(parts_of((cells.images, cells.labels))["all"], 0.2, 0)
    both = parts_of((cells.images, cells.labels))["all"]
    start = backbone()
    with torch.no_grad():
        features = torch.cat(
            [
                start.forward_head(start.forward_features(x), pre_logits=True)
                for x, *_ in DataLoader(Inputs(both, HOW), batch_size=64)
            ]
        )
    picked, labels = features[: len(train)], torch.tensor(both.labels[: len(train)])
    scores: dict[str, float] = {}

    def run(name: str, train_it: Callable[[nn.Module], nn.Module]) -> Callable[[], None]:
        def once() -> None:
            scores[name] = accuracy(train_it(copy.deepcopy(start)), val)

        return once

    ways = {
        "the usual loop": run("the usual loop", lambda model: usual(model, train)),
        "ours": run("ours", lambda model: ours(model, train, val)),
        "one forward pass": lambda: forward(start, both),
        "the head alone": lambda: head_alone(picked, labels, features[len(train) :]),
    }
    found = medians(ways, rounds=options.rounds)
    base = found["the usual loop"]
    print(
        f"{len(train)} photos to train, {len(val)} to validate, {EPOCHS} epochs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    print("\n| | seconds | of the usual loop's | accuracy |\n|---|---|---|---|")
    for name, times in found.items():
        score = f"{scores[name]:.3f}" if name in scores else ""
        print(f"| {name} | {median(times):.2f} | {spread(times, base)} | {score} |")
    least = [a + b for a, b in zip(found["one forward pass"], found["the head alone"], strict=True)]
    print(f"\nOurs takes {spread(found['ours'], least)} of one forward pass and the head alone.")


if __name__ == "__main__":
    main()
