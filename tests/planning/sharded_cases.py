"""Models that are spread over processes in several ways, and the weights that go into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torchvision.models.vision_transformer import VisionTransformer

from checkpoint.quantisers import deepseek

__all__ = ["CASES", "IDS", "LARGE", "Attention", "Case", "Language", "Mixed", "fsdp"]

Spread = Callable[[nn.Module], object]

IDS = torch.tensor([[1, 5, 9, 2], [3, 3, 0, 10]])
IMAGE = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
WIDTH = 8


class Mixed(nn.Module):
    """Convolution, batch norm, `Linear`s; most sizes are divided by no number of processes."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 10, 3, padding=1)
        self.norm = nn.BatchNorm2d(10)
        self.body = nn.Conv2d(10, 7, 1)
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(7, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.norm(self.stem(x))).mean(dim=(2, 3)) * self.scale)


class Attention(nn.Module):
    """One layer for query, key and value, or three."""

    def __init__(self, width: int, *, fused: bool) -> None:
        super().__init__()
        for name in ("qkv",) if fused else ("q", "k", "v"):
            self.add_module(name, nn.Linear(width, 3 * width if fused else width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "qkv"):
            q, k, v = self.qkv(x).chunk(3, -1)
        else:
            q, k, v = self.q(x), self.k(x), self.v(x)
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v))


class Language(nn.Module):
    """Attention over tokens, fused or not; the head may be the embedding's table."""

    def __init__(self, *, fused: bool, tied: bool = False, tokens: int = 11, width: int = WIDTH) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.attn = Attention(width, fused=fused)
        self.up, self.down = nn.Linear(width, 12), nn.Linear(12, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        x = x + self.attn(x)
        return self.head(self.norm(x + self.down(self.up(x).relu())))


class One(nn.Module):
    """A single layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(200, 301)


def vit(classes: int = 6, side: int = 16) -> nn.Module:
    model = VisionTransformer(
        image_size=side,
        patch_size=4,
        num_layers=1,
        num_heads=2,
        hidden_dim=12,
        mlp_dim=20,
        num_classes=classes,
    )
    nn.init.normal_(model.heads.head.weight)
    return model


@dataclass(frozen=True)
class Case:
    """One graft into a spread model.

    Attributes:
        name: What is tried.
        build: Gives the model.
        weights: Gives the state dict of the file.
        spread: Spreads the model over all processes.
        input: What the model is run on afterwards; `None` for a model that is not run.
        options: Arguments of `graft`.
        kinds: Where the model is before: on the meta device, `"real"`, or read in one go.
    """

    name: str
    build: Callable[[], nn.Module]
    weights: Callable[[], Mapping[str, torch.Tensor]]
    spread: Spread
    input: torch.Tensor | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("meta", "real")


def state(build: Callable[[], nn.Module]) -> Callable[[], dict[str, torch.Tensor]]:
    def weights() -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        model = build()
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1)
        tensors = model.state_dict()
        first = {tensor.data_ptr(): key for key, tensor in reversed(tensors.items())}
        return {key: tensor for key, tensor in tensors.items() if first[tensor.data_ptr()] == key}

    return weights


TURNED = {
    f"{path}.weight": "IO" for path in ("attn.q", "attn.k", "attn.v", "attn.proj", "up", "down", "head")
}


def transposed() -> dict[str, torch.Tensor]:
    turned = state(lambda: Language(fused=False))()
    return {key: value.t().contiguous() if _is_linear(key, value) else value for key, value in turned.items()}


def _is_linear(key: str, value: torch.Tensor) -> bool:
    return value.ndim == 2 and key != "tokens.weight"


def quantised() -> dict[str, torch.Tensor]:
    layer = nn.Linear(200, 301)
    torch.manual_seed(2)
    return {**deepseek(torch.randn(301, 200)), "layer.bias": layer.bias.detach()}


def fsdp(model: nn.Module) -> object:
    """Each child by itself, then what is left."""
    for child in model.children():
        if any(True for _ in child.parameters()):
            fully_shard(child)
    return fully_shard(model)


def whole(model: nn.Module) -> object:
    return fully_shard(model)


def hybrid(model: nn.Module) -> object:
    world = torch.distributed.get_world_size()
    return fully_shard(
        model, mesh=init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("copies", "parts"))
    )


def columns(model: nn.Module) -> object:
    return fully_shard(
        model, shard_placement_fn=lambda p: Shard(1) if p.ndim == 2 and p.shape[1] == 8 else None
    )


_PARALLEL = {
    "attn.q": ColwiseParallel, "attn.k": ColwiseParallel, "attn.v": ColwiseParallel,
    "attn.proj": RowwiseParallel, "up": ColwiseParallel, "down": RowwiseParallel,
}  # fmt: skip


def tensor_parallel(model: nn.Module) -> object:
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    return parallelize_module(model, mesh, {path: style() for path, style in _PARALLEL.items()})


def both(model: nn.Module) -> object:
    world = torch.distributed.get_world_size()
    mesh = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("dp", "tp"))
    parallelize_module(model, mesh["tp"], {path: style() for path, style in _PARALLEL.items()})
    return fully_shard(model, mesh=mesh["dp"])


def by_hand(model: nn.Module) -> object:
    """Rows, columns, copies and a whole first tensor dimension, without any wrapper."""
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))

    def place(name: str, module: nn.Module, mesh: object) -> None:
        for place, (key, parameter) in enumerate(list(module.named_parameters(recurse=False))):
            placement = Replicate() if place else Shard(parameter.ndim - 1)
            made = distribute_tensor(parameter, mesh, [placement], src_data_rank=None)
            module.register_parameter(key, nn.Parameter(made))

    return distribute_module(model, mesh, place)


NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]
FEWER = {"source_labels": NAMES, "labels": ["fox", "cat", "dog", "ant"]}
MORE = {"source_labels": NAMES, "labels": ["fox", "owl", "cat", "dog", "elk", "ant", "yak"]}


def fused() -> nn.Module:
    return Language(fused=True)


def split() -> nn.Module:
    return Language(fused=False)


def tied() -> nn.Module:
    return Language(fused=True, tied=True)


CASES = [
    Case("fsdp", Mixed, state(Mixed), fsdp, IMAGE, kinds=("meta", "real", "read")),
    Case("fsdp of a language model", split, state(split), fsdp, IDS),
    Case(
        "tied", tied, state(tied), whole, IDS,
        kinds=("meta", "real", "read"),
    ),
    Case("four channels", lambda: Mixed(4), state(Mixed), fsdp, IMAGE[:, [0, 1, 2, 0]]),
    Case(
        "four channels by mean", lambda: Mixed(4), state(Mixed), fsdp, IMAGE[:, [0, 1, 2, 0]],
        {"in_mode": "mean"},
    ),
    Case("fewer classes", lambda: vit(4), state(vit), whole, IMAGE, FEWER),
    Case("more classes", lambda: vit(7), state(vit), whole, IMAGE, MORE, kinds=("real",)),
    Case(
        "more classes by mean", lambda: vit(7), state(vit), whole, IMAGE, {**MORE, "modes": {"rows": "mean"}},
    ),
    Case("positions", lambda: vit(side=24), state(vit), fsdp, None),
    Case("more tokens", lambda: Language(fused=True, tokens=14), state(fused), whole, IDS),
    Case("joined", fused, state(split), fsdp, IDS),
    Case("split", split, state(fused), fsdp, IDS),
    Case(
        "transposed", fused, transposed, fsdp, IDS,
        {"layouts": TURNED},
    ),
    Case("another dtype", lambda: Mixed().bfloat16(), state(Mixed), fsdp, None),
    Case("quantised", One, quantised, whole, None),
    Case("columns", fused, state(fused), columns, IDS),
    Case("by hand", split, state(fused), by_hand, None),
    Case(
        "tensor parallel", split, state(fused), tensor_parallel, IDS,
    ),
    Case("copies of parts", Mixed, state(Mixed), hybrid, IMAGE),
    Case("both", split, state(split), both, None),
]  # fmt: skip


NUMBERS = [f"class {number}" for number in range(1000)]


def photos(classes: int = 1000, channels: int = 3, side: int = 64) -> nn.Module:
    """Large enough that ranges of its file are worth a request each."""
    model = VisionTransformer(
        image_size=side,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=256,
        mlp_dim=1024,
        num_classes=classes,
    )
    model.conv_proj = nn.Conv2d(channels, 256, 8, 8)
    nn.init.normal_(model.heads.head.weight)
    return model


def wide(*, fused: bool, tied: bool = False) -> Callable[[], nn.Module]:
    return lambda: Language(fused=fused, tied=tied, tokens=1024, width=256)


LARGE = [
    Case("plain", wide(fused=False), state(wide(fused=False)), fsdp),
    Case("split", wide(fused=False), state(wide(fused=True)), fsdp),
    Case("joined", wide(fused=True), state(wide(fused=False)), fsdp),
    Case("tied", wide(fused=True, tied=True), state(wide(fused=True, tied=True)), whole),
    Case("parallel", wide(fused=False), state(wide(fused=False)), tensor_parallel),
    Case("adapted", lambda: photos(21, 4, 96), state(photos), fsdp, options=
        {"source_labels": NUMBERS, "labels": NUMBERS[300:321]}),
]  # fmt: skip
"""Models of some megabytes, of which the bytes that are read are counted."""
