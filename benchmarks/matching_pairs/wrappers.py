"""What training wraps around names: DataParallel, compile, activation checkpointing, siamese nets, copies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import nn

from matching_pairs.builders import hf, pcv, pixels, tm, tv
from matching_pairs.pairs import Build, Pair, Side, State, add, image, sequence
from matching_pairs.plain import PlainEncoder, torch_encoder

Held = Callable[[State], State]


def prefixed(prefix: str) -> Held:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def inside(pattern: str, replacement: str) -> Held:
    return lambda state: {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}


def noise(state: State, seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.rand(tensor.shape, generator=generator) + 0.1).to(tensor.dtype)
        for name, tensor in state.items()
    }


def copies(*prefixes: str, true: str) -> Held:
    """A copy under each prefix; the one under `true` is the weights, the others are of the same shapes."""

    def held(state: State) -> State:
        found: State = {}
        for number, prefix in enumerate(prefixes):
            values = state if prefix == true else noise(state, number)
            found |= {prefix + name: tensor for name, tensor in values.items()}
        return found

    return held


def with_extras(held: Held, **extras: tuple[int, ...]) -> Held:
    def more(state: State) -> State:
        found = held(state)
        for number, (name, shape) in enumerate(extras.items()):
            found[name.replace("__", ".")] = torch.rand(
                shape, generator=torch.Generator().manual_seed(number)
            )
        return found

    return more


HELD: Mapping[str, Held] = {
    "module": prefixed("module."),
    "orig_mod": prefixed("_orig_mod."),
    "module-orig_mod": prefixed("module._orig_mod."),
    "module-inside": inside(r"^(.*?\.\d+)\.", r"\1.module."),
    "checkpoint-wrapped": inside(r"^(.*?\.\d+)\.", r"\1._checkpoint_wrapped_module."),
    "orig-mod-inside": inside(r"^(.*?\.\d+)\.", r"_orig_mod.\1._orig_mod."),
    "fsdp": inside(
        r"^(.*?\.\d+)\.", r"_fsdp_wrapped_module.\1._fsdp_wrapped_module._checkpoint_wrapped_module."
    ),
    "nested": prefixed("state.network.module.encoder.backbone."),
}
LIGHTNING = with_extras(prefixed("model.net."), loss__weight=(1000,), ema_decay=())
IMAGE_MODELS: Mapping[str, tuple[Side, Side]] = {
    "same": (Side(tv("resnet18")), Side(tv("resnet18"))),
    "hf-resnet": (
        Side(tv("resnet18")),
        Side(
            hf(
                "ResNetForImageClassification",
                "ResNetConfig",
                embedding_size=64,
                hidden_sizes=[64, 128, 256, 512],
                depths=[2, 2, 2, 2],
                layer_type="basic",
                num_labels=1000,
            )
        ),
    ),
    "mobilenet": (Side(tv("mobilenet_v2")), Side(tm("mobilenetv2_100"))),
}


def resnet_pair(name: str, held: Held, subject: str = "same", **more: object) -> None:
    source, target = IMAGE_MODELS[subject]
    add(Pair(f"wrapper:{name}/{subject}", "wrappers", source, target, image(64), held=held, **more))  # type: ignore[arg-type]


for name, held in HELD.items():
    resnet_pair(name, held)
    resnet_pair(name, held, "hf-resnet" if len(name) % 2 else "mobilenet")
resnet_pair("lightning-with-extras", LIGHTNING)
resnet_pair("lightning-with-extras", LIGHTNING, "hf-resnet")
resnet_pair("sorted-keys", lambda state: dict(sorted(state.items())), "hf-resnet")
resnet_pair("sorted-keys", lambda state: dict(sorted(state.items())), "mobilenet")
resnet_pair("reversed-keys", lambda state: dict(reversed(state.items())), "hf-resnet")

# A stated policy for copies: the query encoder over the key encoder, the teacher over the student
MOCO = copies("module.encoder_q.", "module.encoder_k.", true="module.encoder_q.")
MOCO_FULL = with_extras(MOCO, module__queue=(128, 64), module__queue_ptr=(1,))
DINO = copies("student.module.backbone.", "teacher.backbone.", true="teacher.backbone.")
EMA = copies("model.", "ema_model.module.", true="model.")
resnet_pair("moco", MOCO)
resnet_pair("moco-queue", MOCO_FULL)
resnet_pair("moco-queue", MOCO_FULL, "mobilenet")
resnet_pair("dino", DINO)
resnet_pair("dino-head", with_extras(DINO, teacher__head__mlp__0__weight=(64, 512), student__head__x=(3,)))
resnet_pair("ema", EMA)
resnet_pair("ema", EMA, "mobilenet")


class Wrapped(nn.Module):
    """A model that holds another, where a user put it."""

    def __init__(self, inner: nn.Module, path: str = "net.body") -> None:
        super().__init__()
        for name in reversed(path.split(".")):
            holder = nn.Module()
            holder.add_module(name, inner)
            inner = holder
        self.add_module("model", inner)
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.get_submodule(self.path)(x)


def wrapped(build: Build, path: str = "net.body") -> Build:
    return lambda: Wrapped(build(), path)


add(Pair("wrapper:target-prefix", "wrappers", Side(tv("resnet18")), Side(wrapped(tv("resnet18"))), image(64)))
add(
    Pair(
        "wrapper:both-prefixes",
        "wrappers",
        Side(tv("resnet18")),
        Side(wrapped(tv("resnet18"))),
        image(64),
        held=prefixed("student.trunk."),
    )
)
add(
    Pair(
        "wrapper:target-prefix/renamed",
        "wrappers",
        Side(tv("resnet18")),
        Side(wrapped(pcv("resnet18"))),
        image(64),
        held=prefixed("module."),
    )
)


class Siamese(nn.Module):
    """The same network for both inputs, held twice: one source, several targets."""

    def __init__(self, build: Build, tied: bool) -> None:
        super().__init__()
        self.left = build()
        self.right = self.left if tied else build()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.left(x) + self.right(x)) / 2


for tied in (True, False):
    for subject, target in (("same", tv("resnet18")), ("renamed", pcv("resnet18"))):
        add(
            Pair(
                f"siamese:{'tied' if tied else 'two-copies'}/{subject}",
                "wrappers",
                Side(tv("resnet18")),
                Side(lambda target=target, tied=tied: Siamese(target, tied)),
                image(64),
                note="both halves should get the weights",
            )
        )
add(
    Pair(
        "wrapper:moco/encoder-split",
        "wrappers",
        Side(lambda: torch_encoder(64, 3, 4)),
        Side(lambda: PlainEncoder(64, 3, 4)),
        sequence(64),
        held=MOCO,
    )
)
add(
    Pair(
        "wrapper:dino/vit",
        "wrappers",
        Side(tm("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=0)),
        pixels(
            hf(
                "ViTModel",
                "ViTConfig",
                hidden_size=192,
                num_hidden_layers=2,
                num_attention_heads=3,
                intermediate_size=768,
                image_size=32,
                layer_norm_eps=1e-6,
            ),
            pick=lambda result: result.last_hidden_state[:, 0],
        ),
        image(32),
        held=DINO,
        arguments={"allow_fresh": "pooler.*"},
        note="HF's pooler is new",
    )
)
