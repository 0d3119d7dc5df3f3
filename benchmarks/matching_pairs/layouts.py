"""Weights as other frameworks hold them, into models of PyTorch's libraries."""

from __future__ import annotations

from matching_pairs.builders import hf, ids, pcv, pixels, tm, tv
from matching_pairs.frameworks import (
    big_vision,
    caffe2,
    detectron2,
    flax,
    flax_imagenet,
    haiku,
    keras_names,
    mxnet,
    npz,
    paddle,
    slim,
)
from matching_pairs.pairs import Build, Pair, Side, add, image, tokens
from matching_pairs.plain import PlainGPT, PlainViT
from matching_pairs.transformers_ import BERT, GPT, SMALL, VIT, tm_vit


def layout(
    name: str, held: object, source: Build | Side, target: Build | Side, inputs: object, **more: object
) -> None:
    sides = [side if isinstance(side, Side) else Side(side) for side in (source, target)]
    add(Pair(f"layout:{name}", "layouts", sides[0], sides[1], inputs, held=held, **more))  # type: ignore[arg-type]


r18, r50 = tv("resnet18"), tv("resnet50")
hf18 = hf(
    "ResNetForImageClassification",
    "ResNetConfig",
    embedding_size=64,
    hidden_sizes=[64, 128, 256, 512],
    depths=[2, 2, 2, 2],
    layer_type="basic",
    num_labels=1000,
)
layout("flax-same-path", flax(), r18, r18, image(64))
layout("flax-same-path/npz", npz(flax()), r18, r18, image(64))
layout("flax-imagenet18", flax_imagenet("ResNetBlock"), r18, r18, image(64))
layout("flax-imagenet50", flax_imagenet("BottleneckResNetBlock"), r50, r50, image(64))
layout(
    "flax-imagenet50/npz>timm", npz(flax_imagenet("BottleneckResNetBlock")), r50, tm("resnet50"), image(64)
)
layout("flax-imagenet50>pytorchcv", flax_imagenet("BottleneckResNetBlock"), r50, pcv("resnet50b"), image(64))
layout("flax-mobilenet", flax(), tv("mobilenet_v2"), tm("mobilenetv2_100"), image(64))
layout("flax-convnext", flax(), tm("convnext_atto"), tm("convnext_atto"), image(64))
layout("haiku-resnet18", haiku, r18, r18, image(64))
layout(
    "haiku-resnet50>hf",
    haiku,
    r50,
    hf("ResNetForImageClassification", "ResNetConfig", num_labels=1000),
    image(64),
)
layout("keras-names50", keras_names, r50, r50, image(64))
layout("keras-names50>pytorchcv", keras_names, r50, pcv("resnet50b"), image(64))
layout("slim-resnet50", slim, r50, r50, image(64))
layout("paddle-resnet18", paddle, r18, r18, image(64))
layout("paddle-resnet50>timm", paddle, r50, tm("resnet50"), image(64))
layout("mxnet-resnet18", mxnet, r18, r18, image(64))
layout("mxnet-resnet18>hf", mxnet, r18, hf18, image(64))
layout("mxnet-mobilenet", mxnet, tv("mobilenet_v2"), tm("mobilenetv2_100"), image(64))
layout("caffe2-resnet50", caffe2, r50, r50, image(64))
layout("caffe2-resnet50>pytorchcv", caffe2, r50, pcv("resnet50b"), image(64))
layout("detectron2-resnet50", detectron2, r50, r50, image(64))
layout("detectron2-resnet50>timm", detectron2, r50, tm("resnet50"), image(64))
layout("densenet-flax", flax(), tv("densenet121"), tm("densenet121"), image(64))
hf_vit = pixels(hf("ViTForImageClassification", "ViTConfig", layer_norm_eps=1e-6, **SMALL, **VIT))
layout("big-vision-vit>timm", big_vision, tm_vit(), tm_vit(), image(32))
layout("big-vision-vit/npz>timm", npz(big_vision), tm_vit(), tm_vit(), image(32))
layout("big-vision-vit>hf", big_vision, tm_vit(), hf_vit, image(32))
layout(
    "big-vision-vit/npz>plain", npz(big_vision), tm_vit(), lambda: PlainViT(32, 8, 3, 64, 3, 4, 10), image(32)
)
layout(
    "big-vision-vit12>timm",
    big_vision,
    tm_vit(depth=12),
    tm_vit(depth=12),
    image(32),
    note="encoderblock_10 sorts before encoderblock_2",
)
bert = ids(hf("BertModel", "BertConfig", type_vocab_size=1, add_pooling_layer=False, **BERT))
layout(
    "flax-bert",
    flax([("LayerNorm", "LayerNorm")]),
    bert,
    bert,
    tokens(100),
    arguments={"allow_fresh": "pooler.*"},
)
gpt = ids(hf("GPT2LMHeadModel", "GPT2Config", **GPT))
layout(
    "gpt2-npz-sorted>split",
    npz(lambda state: dict(sorted(state.items()))),
    gpt,
    lambda: PlainGPT(100, 40, 64, 3, 4, fused=False),
    tokens(100),
)
layout(
    "dense-transposed-mlp-mixer",
    flax(),
    tm("mixer_s16_224", img_size=64, num_classes=10),
    tm("mixer_s16_224", img_size=64, num_classes=10),
    image(64),
)
