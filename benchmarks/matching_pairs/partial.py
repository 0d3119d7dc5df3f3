"""Models that overlap in part: deeper, shallower, with another head or neck, several in one file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
import transformers
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from matching_pairs.builders import hf, ids, pcv, pixels, tm, tv
from matching_pairs.pairs import Build, Pair, Side, State, add, image, sequence, tokens
from matching_pairs.plain import PlainBert, PlainEncoder, torch_encoder
from matching_pairs.transformers_ import BERT, VIT, hf_clip, tm_vit

Truth = Callable[[State], State]


def same_names(*, of: str = "", to: str = "", but: tuple[str, ...] = ()) -> Truth:
    """The target is made of the same classes: each name under `of` is there under `to`."""

    def truth(state: State) -> State:
        return {
            to + name.removeprefix(of): tensor
            for name, tensor in state.items()
            if name.startswith(of) and not name.startswith(but or ("\0",))
        }

    return truth


def partial(name: str, source: Side | Build, target: Side | Build, inputs: Any, **more: Any) -> None:
    sides = [side if isinstance(side, Side) else Side(side) for side in (source, target)]
    add(Pair(f"partial:{name}", "partial overlap", sides[0], sides[1], inputs, **more))


def features(build: Build, *removed: str) -> Build:
    """A network without its head, as people cut it."""

    def built() -> nn.Module:
        model = build()
        for name in removed:
            setattr(model, name, nn.Identity())
        return model

    return built


class Classifier(nn.Module):
    """A trunk, a new neck and a new head."""

    def __init__(self, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.head = nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.neck(self.trunk(x)).mean((2, 3)))


class Trunk(nn.Module):
    """torchvision's ResNet up to layer4, as a dense predictor uses it."""

    def __init__(self) -> None:
        super().__init__()
        model = torchvision.models.resnet18(weights=None)
        for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(model, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


resnet = tv("resnet18")
no_head = ("fc.",)
partial("other-classes", resnet, tv("resnet18", num_classes=21), image(64), truth=same_names(but=no_head))
partial(
    "other-classes/renamed", resnet, tm("resnet18", num_classes=21), image(64), truth=same_names(but=no_head)
)
partial(
    "missing-head", Side(resnet, pick=None), features(resnet, "fc"), image(64), truth=same_names(but=no_head)
)
partial(
    "new-neck",
    resnet,
    lambda: Classifier(Trunk(), 512),
    image(64),
    truth=same_names(to="trunk.", but=no_head),
    arguments={"allow_fresh": ["neck.*", "head"]},
)
partial(
    "undeclared-neck",
    resnet,
    lambda: Classifier(Trunk(), 512),
    image(64),
    expect="refuse",
    truth=same_names(to="trunk.", but=no_head),
    note="nobody declared the neck",
)
partial(
    "headless-source",
    lambda: Classifier(Trunk(), 512),
    tm("resnet18"),
    image(64),
    truth=same_names(of="trunk."),
    arguments={"allow_fresh": "head"},
)
partial(
    "shallower-target",
    lambda: ResNet(BasicBlock, [3, 3, 3, 3]),
    lambda: ResNet(BasicBlock, [2, 2, 2, 2]),
    image(64),
    truth=same_names(but=tuple(f"layer{n}.2" for n in range(1, 5))),
)
partial(
    "deeper-target",
    lambda: ResNet(BasicBlock, [2, 2, 2, 2]),
    lambda: ResNet(BasicBlock, [3, 3, 3, 3]),
    image(64),
    truth=same_names(),
    arguments={"allow_fresh": [f"layer{n}.2.*" for n in range(1, 5)]},
)
partial(
    "smp-unet-encoder",
    resnet,
    lambda: smp.Unet("resnet18", encoder_weights=None),
    image(64),
    truth=same_names(to="encoder.", but=no_head),
    arguments={"allow_fresh": ["decoder.*", "segmentation_head.*"]},
)
partial(
    "detection-backbone",
    resnet,
    lambda: torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d
    ),
    image(64),
    truth=same_names(to="body.", but=no_head),
    arguments={"allow_fresh": "fpn.*"},
)
partial(
    "segmentation-to-classifier",
    lambda: torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None),
    tv("mobilenet_v3_large", dilated=True, reduced_tail=False),
    image(64),
    truth=lambda state: same_names(of="backbone.", to="features.")(state),
    arguments={"allow_fresh": "classifier.*"},
)


# --- several models in one file, transformers of other depth ----------------------------------------
def vit_hf(**arguments: Any) -> Build:
    shape = {"image_size": 32, "patch_size": 8, **VIT, "layer_norm_eps": 1e-6, **arguments}
    return hf("ViTForImageClassification", "ViTConfig", num_labels=10, **shape)


def to_depth(source: str, depth: int) -> Truth:
    def truth(state: State) -> State:
        pattern = tuple(source.format(n) for n in range(depth, 12))
        return {name: tensor for name, tensor in state.items() if not name.startswith(pattern)}

    return truth


partial("vit-shallower", tm_vit(depth=4), tm_vit(depth=2), image(32), truth=to_depth("blocks.{}.", 2))
partial(
    "vit-deeper",
    tm_vit(depth=2),
    tm_vit(depth=4),
    image(32),
    truth=same_names(),
    arguments={"allow_fresh": ["blocks.2.*", "blocks.3.*"]},
)
partial(
    "vit-other-classes",
    tm_vit(num_classes=7),
    pixels(vit_hf()),
    image(32),
    truth=lambda state: _vit_truth(state, but=("head.",)),
)
partial(
    "clip-vision-tower",
    Side(hf_clip(), feed=lambda x: {"pixel_values": x, "input_ids": _TEXT}),
    pixels(
        lambda: transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=32, **VIT)
        )
    ),
    image(32),
    truth=same_names(of="vision_model."),
)


class VisionTower(nn.Module):
    """Holds all of CLIP, and looks."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = hf_clip()()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.clip.vision_model(x).pooler_output


_TEXT = torch.tensor([[1, 5, 9, 30, 99, 0, 0, 0]])
partial(
    "clip-vision-tower/timm",
    VisionTower,
    tm_vit(
        pre_norm=True,
        num_classes=0,
        act_layer=timm.layers.get_act_layer("quick_gelu"),
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-5),
    ),
    image(32),
)
partial(
    "bert-head-to-encoder",
    ids(hf("BertForMaskedLM", "BertConfig", type_vocab_size=1, **BERT)),
    ids(lambda: transformers.BertModel(transformers.BertConfig(type_vocab_size=1, **BERT), False)),
    tokens(100),
    truth=same_names(of="bert."),
)
partial(
    "bert-encoder-of-whole",
    ids(lambda: transformers.BertModel(transformers.BertConfig(type_vocab_size=1, **BERT), False)),
    lambda: torch_encoder(64, 3, 4),
    tokens(100),
    truth=lambda state: _packed(state, "encoder.layer.{}."),
)
partial(
    "bert-shallower-plain",
    ids(lambda: transformers.BertModel(transformers.BertConfig(**{**BERT, "num_hidden_layers": 5}), False)),
    lambda: torch_encoder(64, 3, 4),
    tokens(100),
    truth=lambda state: _packed(state, "encoder.layer.{}."),
)


class Two(nn.Module):
    """A checkpoint of several models."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = torchvision.models.mobilenet_v2(weights=None)
        self.recogniser = torchvision.models.resnet18(weights=None)
        self.language = PlainEncoder(64, 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.recogniser(x)


partial("several-models", Two, resnet, image(64))
partial("several-models/timm", Two, tm("resnet18"), image(64))
partial("several-models/pytorchcv", Two, pcv("resnet18"), image(64))
partial(
    "several-models-to-mobilenet",
    Side(Two, pick=None, feed=lambda x: (x,)),
    tm("mobilenetv2_100"),
    image(64),
    truth=lambda state: _zipped(state, "detector.", tm("mobilenetv2_100")),
)


def _zipped(state: State, prefix: str, build: Build) -> State:
    """torchvision's and timm's MobileNetV2 register the same layers in the same order."""
    values = [tensor for name, tensor in state.items() if name.startswith(prefix)]
    return dict(zip(build().state_dict(), values, strict=True))


def _packed(state: State, layer: str, depth: int = 3) -> State:
    """BERT's layers as nn.TransformerEncoder's."""
    found: State = {}
    words = {
        "attention.output.dense": "self_attn.out_proj",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "linear1",
        "output.dense": "linear2",
        "output.LayerNorm": "norm2",
    }
    for n in range(depth):
        here, there = layer.format(n), f"layers.{n}."
        for part in ("weight", "bias"):
            three = [state[f"{here}attention.self.{which}.{part}"] for which in ("query", "key", "value")]
            found[f"{there}self_attn.in_proj_{part}"] = torch.cat(three)
            found |= {f"{there}{b}.{part}": state[f"{here}{a}.{part}"] for a, b in words.items()}
    return found


def _vit_truth(state: State, but: tuple[str, ...]) -> State:
    """timm's ViT as transformers'."""
    found: State = {
        "vit.embeddings.cls_token": state["cls_token"],
        "vit.embeddings.position_embeddings": state["pos_embed"],
    }
    words = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.o_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for part in ("weight", "bias"):
        found[f"vit.embeddings.patch_embeddings.projection.{part}"] = state[f"patch_embed.proj.{part}"]
        found[f"vit.layernorm.{part}"] = state[f"norm.{part}"]
        for n in range(3):
            q, k, v = state[f"blocks.{n}.attn.qkv.{part}"].chunk(3)
            layer = f"vit.layers.{n}."
            found |= {f"{layer}attention.{w}_proj.{part}": t for w, t in (("q", q), ("k", k), ("v", v))}
            found |= {f"{layer}{b}.{part}": state[f"blocks.{n}.{a}.{part}"] for a, b in words.items()}
    assert but == ("head.",)
    return found


partial(
    "sequence-wider-stack",
    lambda: torch_encoder(64, 4, 4),
    lambda: PlainEncoder(64, 2, 4),
    sequence(64),
    truth=lambda state: _split(state, 2),
)


def _split(state: State, depth: int) -> State:
    words = {
        "self_attn.out_proj": "self_attn.out",
        "norm1": "attn_norm",
        "linear1": "ffn.0",
        "linear2": "ffn.2",
        "norm2": "ffn_norm",
    }
    found: State = {}
    for n in range(depth):
        for part in ("weight", "bias"):
            three = state[f"layers.{n}.self_attn.in_proj_{part}"].chunk(3)
            found |= {f"stack.{n}.self_attn.{w}.{part}": t for w, t in zip("qkv", three, strict=True)}
            found |= {f"stack.{n}.{b}.{part}": state[f"layers.{n}.{a}.{part}"] for a, b in words.items()}
    return found


_ = PlainBert
