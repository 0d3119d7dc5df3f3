"""Questions without an answer in names, shapes and structure.

A confident plan is right by luck: these come in two forms whose answers differ: a guess is wrong in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from matching_pairs.builders import hf, ids, pcv, tm, tv
from matching_pairs.pairs import Build, Expect, Pair, Side, State, add, image, sequence, tokens
from matching_pairs.plain import torch_encoder
from matching_pairs.transformers_ import BERT, tm_vit
from matching_pairs.wrappers import copies

Held = Callable[[State], State]


class Twins(nn.Module):
    """Parts of one shape, each of which does something else with the same input."""

    def __init__(self, names: Sequence[str], part: Callable[[], nn.Module], width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(24, width)
        for name in names:
            self.add_module(name, part())
        self.outward = nn.Linear(width, 10)
        self.names = tuple(names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inward(x)
        made = [self.get_submodule(name)(x) for name in self.names]
        y = made[0]
        for number, one in enumerate(made[1:], 2):
            y = y * torch.sigmoid(one) + number * torch.tanh(one)
        return self.outward(y)


def linear() -> nn.Module:
    return nn.Linear(32, 32)


def norm() -> nn.Module:
    return nn.LayerNorm(32)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32))


def trap(
    name: str,
    source: Build | Side,
    target: Build | Side,
    inputs: Any,
    *,
    expect: Expect = "refuse",
    **more: Any,
) -> None:
    sides = [side if isinstance(side, Side) else Side(side) for side in (source, target)]
    add(Pair(f"trap:{name}", "traps", sides[0], sides[1], inputs, expect=expect, **more))


def twins(
    name: str, ours: Sequence[str], theirs: Sequence[str], part: Callable[[], nn.Module], **more: Any
) -> None:
    """Both assignments of the first two, in different pairs; keys sorted, so that the order says nothing."""
    for form, given in (("1", list(ours)), ("2", [ours[1], ours[0], *ours[2:]])):
        trap(
            f"{name}/{form}",
            lambda given=given: Twins(given, part, 32),
            lambda: Twins(list(theirs), part, 32),
            sequence(24),
            held=lambda state: dict(sorted(state.items())),
            **more,
        )


twins("branches", ("sun", "moon"), ("left_arm", "right_arm"), linear)
twins("norms", ("norm_foo", "norm_bar"), ("scaling", "centring"), norm)
twins("mlps", ("actor_net", "critic_net"), ("tower_u", "tower_v"), mlp)
twins("three", ("red", "green", "blue"), ("oak", "elm", "ash"), linear)
twins("tables", ("row_embed", "column_embed"), ("u_embed", "v_embed"), linear)


def two_copies(name: str, first: str, second: str, model: Build, target: Build) -> None:
    for form, true in (("1", first), ("2", second)):
        trap(f"{name}/{form}", model, target, image(64), held=copies(first, second, true=true))


two_copies("cyclegan", "netG_A.", "netG_B.", tv("resnet18"), tv("resnet18"))
two_copies("ensemble", "models.0.", "models.1.", tv("resnet18"), tm("resnet18"))
two_copies("folds", "fold_1/", "fold_2/", tv("mobilenet_v2"), tm("mobilenetv2_100"))
two_copies("towers", "image_tower.", "sketch_tower.", tv("resnet18"), pcv("resnet18"))


# --- a model of another size, or another model ----------------------------------------
def wrong(name: str, source: Build | Side, target: Build | Side, inputs: Any = None, **more: Any) -> None:
    trap(f"wrong:{name}", source, target, inputs or image(64), **more)


wrong("resnet18>resnet34", tv("resnet18"), tv("resnet34"))
wrong("resnet50>resnet101/pytorchcv", tv("resnet50"), pcv("resnet101b"))
wrong("vit3>vit5", tm_vit(depth=3), tm_vit(depth=5), image(32))
wrong("resnet50>wide", tv("resnet50"), tv("wide_resnet50_2"))
wrong(
    "bert>other-width",
    ids(hf("BertModel", "BertConfig", **BERT)),
    ids(hf("BertModel", "BertConfig", **{**BERT, "hidden_size": 48})),
    tokens(100),
)
wrong("densenet>resnet", tv("densenet121"), tv("resnet18"))
wrong("vgg>resnet", tv("squeezenet1_1"), tv("resnet18"))


# --- words or order may tell; a mis-load may not ----------------------------------------
class Fused(nn.Module):
    """One projection for three, whose name doesn't say in which order."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.before = nn.Linear(24, 32)
        self.mix = nn.Linear(32, 96)
        self.after = nn.Linear(32, 10)
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = dict(zip(self.order, self.mix(self.before(x)).chunk(3, -1), strict=True))
        return self.after(F.scaled_dot_product_attention(parts["q"], parts["k"], parts["v"]))


class Split(nn.Module):
    def __init__(self, names: Sequence[str] = ("query", "key", "value")) -> None:
        super().__init__()
        self.before = nn.Linear(24, 32)
        for name in names:
            self.add_module(name, nn.Linear(32, 32))
        self.after = nn.Linear(32, 10)
        self.names = tuple(names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        q, k, v = (self.get_submodule(name)(x) for name in self.names)
        return self.after(F.scaled_dot_product_attention(q, k, v))


for order in ("qkv", "vkq"):
    trap(
        f"fused-without-order/{order}",
        lambda order=order: Fused(order),
        Split,
        sequence(24),
        note="`mix` does not say which third is the query",
    )
for form, names in (("1", ("sun", "moon", "star")), ("2", ("star", "sun", "moon"))):
    trap(
        f"nameless-qkv/{form}",
        lambda names=names: Split(names),
        Split,
        sequence(24),
        held=lambda state: dict(sorted(state.items())),
    )


class Square(nn.Module):
    """Square matrices only: nothing votes for or against a transpose."""

    def __init__(self, matrices: bool) -> None:
        super().__init__()
        self.matrices = matrices
        make: Callable[[], Any] = (lambda: nn.Parameter(torch.zeros(32, 32))) if matrices else linear_free
        self.first, self.second = make(), make()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.matrices:
            return torch.tanh(x @ self.first) @ self.second
        return self.second(torch.tanh(self.first(x)))


def linear_free() -> nn.Module:
    return nn.Linear(32, 32, bias=False)


trap(
    "square-matrices",
    lambda: Square(True),
    lambda: Square(False),
    sequence(32),
    held=lambda state: {f"{name}/w": tensor for name, tensor in state.items()},
    note="x @ w in the source: [in, out]",
)
trap(
    "square-matrices/other",
    lambda: Square(False),
    lambda: Square(False),
    sequence(32),
    held=lambda state: {name.replace(".weight", "/w"): tensor for name, tensor in state.items()},
    note="[out, in] under the same names",
)


class Tokens(nn.Module):
    """Two tokens of one shape beside one of the target."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.zeros(1, 1, 64)))
        self.encoder = torch_encoder(64, 1, 4)
        self.names = tuple(names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        token = getattr(self, self.names[0]).expand(len(x), -1, -1)
        return self.encoder(torch.cat([token, x], 1))


for form, names in (("1", ("summary", "padding")), ("2", ("padding", "summary"))):
    trap(f"two-tokens/{form}", lambda names=names: Tokens(names), lambda: Tokens(("extra",)), sequence(64))


class TwoNorms(nn.Module):
    """Statistics of two domains in the source, one set of them in the target."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        for name in names:
            self.add_module(name, nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 10)
        self.names = tuple(names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.get_submodule(self.names[0])(self.conv(x)).relu().mean((2, 3)))


for form, names in (("1", ("bn_clean", "bn_adv")), ("2", ("bn_adv", "bn_clean"))):
    trap(f"two-norms/{form}", lambda names=names: TwoNorms(names), lambda: TwoNorms(("bn",)), image(32))


class Gated(nn.Module):
    def __init__(self, gate: str, up: str, down: str, *, fused: str = "") -> None:
        super().__init__()
        self.fused = fused
        if fused:
            self.add_module(fused, nn.Linear(32, 96))
        else:
            self.add_module(gate, nn.Linear(32, 48))
            self.add_module(up, nn.Linear(32, 48))
        self.add_module(down, nn.Linear(48, 32))
        self.names = (gate, up, down)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up, down = self.names
        if self.fused:
            a, b = self.get_submodule(self.fused)(x).chunk(2, -1)
        else:
            a, b = self.get_submodule(gate)(x), self.get_submodule(up)(x)
        return self.get_submodule(down)(F.silu(a) * b)


trap(
    "llama-w1-w3",
    lambda: Gated("w1", "w3", "w2"),
    lambda: Gated("gate_proj", "up_proj", "down_proj"),
    sequence(32),
    expect="careful",
    note="Meta's convention: w1 is the gate",
)
trap(
    "gate-up-named",
    lambda: Gated("", "", "down_proj", fused="gate_up_proj"),
    lambda: Gated("gate_proj", "up_proj", "down_proj"),
    sequence(32),
    expect="careful",
)
for form, target in (("1", ("gate_proj", "up_proj")), ("2", ("up_proj", "gate_proj"))):
    trap(
        f"fused-gate-nameless/{form}",
        lambda: Gated("", "", "down_proj", fused="wide"),
        lambda target=target: Gated(*target, "down_proj"),
        sequence(32),
        note="`wide` does not say which half is the gate",
    )
trap(
    "actor-critic",
    lambda: Twins(("actor", "critic"), mlp, 32),
    lambda: Twins(("policy", "value"), mlp, 32),
    sequence(24),
    expect="careful",
)
trap(
    "self-cross",
    lambda: Twins(("self_attn", "encoder_attn"), mlp, 32),
    lambda: Twins(("attn1", "attn2"), mlp, 32),
    sequence(24),
    expect="careful",
)
trap(
    "first-last",
    lambda: Twins(("last", "first", "middle"), mlp, 32),
    lambda: Twins(("part3", "part1", "part2"), mlp, 32),
    sequence(24),
    expect="careful",
)
