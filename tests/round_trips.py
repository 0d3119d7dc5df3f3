"""Varied pairs of a checkpoint and a model, for tests that go there and back, with every number distinct."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import relu, scaled_dot_product_attention

State = dict[str, torch.Tensor]
D = 8


class Split(nn.Module):
    """Two attention blocks with q, k and v apart."""

    def __init__(self, word: str = "layer", key_bias: bool = True) -> None:
        super().__init__()
        blocks = []
        for _ in range(2):
            block = nn.Module()
            block.norm = nn.LayerNorm(D)
            block.query, block.value, block.proj = (nn.Linear(D, D) for _ in range(3))
            block.key = nn.Linear(D, D, bias=key_bias)
            block.fc1, block.fc2 = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
            blocks.append(block)
        setattr(self, word, nn.ModuleList(blocks))
        self.word = word

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for b in getattr(self, self.word):
            h = b.norm(x)
            x = x + b.proj(scaled_dot_product_attention(b.query(h), b.key(h), b.value(h)))
            x = x + b.fc2(relu(b.fc1(x)))
        return x


class Fused(nn.Module):
    """The same with one `qkv`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(2):
            block = nn.Module()
            block.norm = nn.LayerNorm(D)
            block.qkv, block.proj = nn.Linear(D, 3 * D), nn.Linear(D, D)
            block.fc1, block.fc2 = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
            self.blocks.append(block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for b in self.blocks:
            x = x + b.proj(scaled_dot_product_attention(*b.qkv(b.norm(x)).chunk(3, -1)))
            x = x + b.fc2(relu(b.fc1(x)))
        return x


class Pair(nn.Module):
    """Two copies of one network."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.left, self.right = make(), make()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right(x)


class Words(nn.Module):
    """An embedding that the output is tied to."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = nn.Linear(4, 4)
        self.out = nn.Linear(4, 7, bias=False)
        if tied:
            self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.body(self.embed(x)))


def net(**sizes: int) -> nn.Module:
    width, channels, classes = 4, sizes.get("channels", 3), sizes.get("classes", 5)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width)
            self.body = nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU(), nn.Conv2d(width, 6, 1))
            self.head = nn.Linear(6, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(self.norm(self.stem(x))).mean(dim=(2, 3)))

    return Net()


def numbered(state: State, seed: int = 0) -> State:
    """Other values in every tensor, minus zero and not-a-number among them, counters included."""
    generator = torch.Generator().manual_seed(seed)
    changed = {}
    for key, value in state.items():
        if value.is_floating_point():
            changed[key] = torch.randn(value.shape, generator=generator).to(value.dtype)
        else:
            changed[key] = torch.randint(1, 99, value.shape, generator=generator).to(value.dtype)
    real = [value for value in changed.values() if value.is_floating_point()]
    real[len(real) // 2].view(-1)[:2] = torch.tensor([-0.0, float("nan")])
    return changed


def source(model: nn.Module, seed: int = 0) -> State:
    return numbered(model.state_dict(), seed)


def flax(state: State) -> State:
    """The network's weights as Flax calls them and lays them out."""
    words = {"running_mean": "mean", "running_var": "var"}
    laid = {}
    for key, value in state.items():
        path, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        if leaf == "weight":
            leaf = "scale" if value.ndim == 1 else "kernel"
            value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.t() if value.ndim == 2 else value
        laid[f"{path}.{words.get(leaf, leaf)}"] = value.contiguous()
    return laid


def gpt2(state: State) -> State:
    """Fused and transposed, as GPT-2 has them."""
    laid: State = {}
    for i in range(2):
        for ours, theirs in (
            ("norm", "ln_1"),
            ("qkv", "c_attn"),
            ("proj", "c_proj"),
            ("fc1", "c_fc"),
            ("fc2", "m_proj"),
        ):
            weight = state[f"blocks.{i}.{ours}.weight"]
            laid[f"h.{i}.{theirs}.weight"] = weight.t().contiguous() if weight.ndim == 2 else weight
            laid[f"h.{i}.{theirs}.bias"] = state[f"blocks.{i}.{ours}.bias"]
    return laid


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def halved(state: State) -> State:
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


def both_names(state: State) -> State:
    """The embedding's values under the output's name too, in memory of their own."""
    return state | {"out.weight": state["embed.weight"].clone()}


def timm_resnet() -> tuple[nn.Module, State, dict[str, Any]]:
    timm, models = pytest.importorskip("timm"), pytest.importorskip("torchvision.models")
    return models.resnet18(), source(timm.create_model("resnet18")), {}


def pixels() -> tuple[nn.Module, State, dict[str, Any]]:
    """A patch embedding that is a `Linear` there and a convolution here."""
    state = source(net())
    state["body.2.weight"] = state["body.2.weight"].reshape(6, 4).contiguous()
    return net(), state, {}


CASES: dict[str, Callable[[], tuple[nn.Module, State, dict[str, Any]]]] = {
    "the same names": lambda: (net(), source(net()), {}),
    "a prefix": lambda: (net(), under("module.", source(net())), {}),
    "prefixes on both sides": lambda: (nn.Sequential(net()), under("model.backbone.", source(net())), {}),
    "a prefix, and more in the file": lambda: (
        net(),
        under("model.", source(net())) | {"queue": torch.rand(4, 9), "epoch.mean": torch.rand(3)},
        {},
    ),
    "a rename rule": lambda: (
        net(),
        {k.replace("body", "trunk"): v for k, v in source(net()).items()},
        {"rename": {"trunk": "body"}},
    ),
    "timm to torchvision": timm_resnet,
    "split to fused": lambda: (Fused(), source(Split()), {}),
    "fused to split": lambda: (Split(), source(Fused()), {}),
    "fused and transposed to split": lambda: (Split(), gpt2(source(Fused())), {}),
    "Flax": lambda: (net(), flax(source(net())), {"allow_fresh": "*num_batches_tracked"}),
    "Flax without a head": lambda: (
        net(classes=3),
        flax(source(net())),
        {"allow_fresh": ["*num_batches_tracked", "head"]},
    ),
    "tied here": lambda: (Words(), both_names(source(Words(tied=False))), {}),
    "tied there": lambda: (Words(tied=False), source(Words()), {}),
    "two copies": lambda: (Pair(net), source(net()), {}),
    "two copies under other names": lambda: (
        Pair(Fused),
        under("net.", {k.replace("fc", "lin"): v for k, v in source(Fused()).items()}),
        {},
    ),
    "one pixel": pixels,
    "half precision there": lambda: (net(), halved(source(net())), {}),
    "half precision here": lambda: (net().half(), source(net()), {}),
    "another head": lambda: (net(classes=3), source(net()), {}),
    "four channels": lambda: (net(channels=4), source(net()), {}),
    "four channels of a half": lambda: (net(channels=4), halved(source(net())), {"in_mode": "mean"}),
    "one channel": lambda: (net(channels=1), source(net()), {}),
    "five channels by zeros": lambda: (net(channels=5), source(net()), {"in_mode": "zeros"}),
    "four channels by sum": lambda: (net(channels=4), source(net()), {"in_mode": "sum"}),
    "channels by a map": lambda: (net(channels=4), source(net()), {"in_mode": [2, 1, 0, "mean"]}),
    "classes in another order": lambda: (
        net(classes=3),
        source(net()),
        {"source_labels": list("abcde"), "labels": list("dba")},
    ),
    "names that Python must quote": lambda: (net(), under("a'{x}\"\\b.", source(net())), {}),
}


def unlike(ours: Any, theirs: State) -> list[str]:
    """Names of tensors that differ in a shape, a dtype or a bit."""
    return [
        key
        for key, value in ours.items()
        if (value.shape, value.dtype) != (theirs[key].shape, theirs[key].dtype)
        or value.contiguous().numpy().tobytes() != theirs[key].contiguous().numpy().tobytes()
    ]
