"""Convolutional networks over torchvision, timm, transformers, pytorchcv and efficientnet_pytorch."""

from __future__ import annotations

from torch import nn

from matching_pairs.builders import cadene, changed, eps, hf, pcv, pixels, replaced, tm, tv
from matching_pairs.pairs import directions, image

directions(
    "resnet18",
    "ResNet",
    image(64),
    tv=tv("resnet18"),
    timm=tm("resnet18"),
    pytorchcv=pcv("resnet18"),
    hf=hf(
        "ResNetForImageClassification",
        "ResNetConfig",
        num_labels=1000,
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
    ),
    only=(
        "tv>pytorchcv",
        "pytorchcv>tv",
        "timm>pytorchcv",
        "tv>hf",
        "hf>tv",
        "hf>pytorchcv",
        "pytorchcv>hf",
        "pytorchcv>timm",
    ),
)
directions(
    "resnet50",
    "ResNet",
    image(64),
    tv=tv("resnet50"),
    timm=tm("resnet50"),
    pytorchcv=pcv("resnet50b"),
    hf=hf("ResNetForImageClassification", "ResNetConfig", num_labels=1000, depths=[3, 4, 6, 3]),
    only=("tv>pytorchcv", "pytorchcv>timm", "timm>hf", "hf>tv", "hf>pytorchcv", "pytorchcv>hf"),
)
directions(
    "resnext50",
    "ResNeXt",
    image(64),
    tv=tv("resnext50_32x4d"),
    timm=tm("resnext50_32x4d"),
    pytorchcv=pcv("resnext50_32x4d"),
    only=("tv>pytorchcv", "pytorchcv>timm", "pytorchcv>tv", "timm>tv"),
)
directions(
    "densenet121",
    "DenseNet",
    image(64),
    tv=tv("densenet121"),
    timm=tm("densenet121"),
    pytorchcv=pcv("densenet121"),
    only=("tv>pytorchcv", "pytorchcv>timm", "timm>tv"),
)
directions(
    "mobilenetv2",
    "MobileNet",
    image(64),
    tv=tv("mobilenet_v2"),
    timm=tm("mobilenetv2_100"),
    pytorchcv=changed(pcv("mobilenetv2b_w1"), replaced("output", lambda: nn.Conv2d(1280, 1000, 1))),
    note="pytorchcv's classifier with a bias",
)
directions(
    "mobilenetv3",
    "MobileNet",
    image(64),
    tv=tv("mobilenet_v3_large"),
    timm=changed(tm("mobilenetv3_large_100"), eps(1e-3)),
    note="BatchNorm's eps set to torchvision's 1e-3",
)
directions(
    "efficientnet_b0",
    "EfficientNet",
    image(64),
    tv=tv("efficientnet_b0"),
    timm=tm("efficientnet_b0"),
)
directions(
    "regnet_x_400mf",
    "RegNet",
    image(64),
    tv=tv("regnet_x_400mf"),
    timm=tm("regnetx_004_tv"),
    hf=hf(
        "RegNetForImageClassification",
        "RegNetConfig",
        num_labels=1000,
        embedding_size=32,
        hidden_sizes=[32, 64, 160, 400],
        depths=[1, 2, 7, 12],
        groups_width=16,
        layer_type="x",
    ),
)
directions("regnetx_004", "RegNet", image(64), timm=tm("regnetx_004"), pytorchcv=pcv("regnetx004"))
directions(
    "regnetx_008",
    "RegNet",
    image(64),
    tv=tv("regnet_x_800mf"),
    pytorchcv=pcv("regnetx008"),
)
directions(
    "convnext",
    "ConvNeXt",
    image(64),
    tv=tv("convnext_tiny"),
    timm=tm("convnext_tiny"),
    hf=hf("ConvNextForImageClassification", "ConvNextConfig", num_labels=1000, layer_norm_eps=1e-6),
)
directions("squeezenet", "SqueezeNet", image(64), tv=tv("squeezenet1_1"), pytorchcv=pcv("squeezenet_v1_1"))
directions(
    "inception_v3",
    "Inception",
    image(139),
    tv=tv("inception_v3", aux_logits=False, init_weights=False),
    timm=tm("inception_v3"),
    pytorchcv=pcv("inceptionv3"),
    only=("tv>timm", "timm>tv", "tv>pytorchcv", "pytorchcv>timm"),
)

CUT = [8, "M", 16, "M", 16, 32, "M", 32, 32, "M", 32, 32, "M"]


def small_vgg_tv() -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    model = VGG(make_layers(CUT, batch_norm=True))
    model.classifier[0] = nn.Linear(32 * 49, 64)
    model.classifier[3], model.classifier[6] = nn.Linear(64, 64), nn.Linear(64, 1000)
    return model


def small_vgg_timm() -> nn.Module:
    from timm.models.vgg import VGG, ConvMlp

    model = VGG(CUT, norm_layer=nn.BatchNorm2d)
    model.pre_logits, model.head.fc = ConvMlp(32, 64, 7, mlp_ratio=1.0), nn.Linear(64, 1000)
    return model


def small_vgg_pytorchcv() -> nn.Module:
    from pytorchcv.models.vgg import VGG

    model = VGG([[8], [16], [16, 32], [32, 32], [32, 32]], bias=True, use_bn=True)
    model.output.fc1.fc = nn.Linear(32 * 49, 64)
    model.output.fc2.fc, model.output.fc3 = nn.Linear(64, 64), nn.Linear(64, 1000)
    return model


directions(
    "vgg_bn",
    "VGG-BN",
    image(224),
    tv=small_vgg_tv,
    timm=small_vgg_timm,
    pytorchcv=small_vgg_pytorchcv,
    note="narrow",
)


# --- two more collections ----------------------------------------
def lukemelas() -> nn.Module:
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-b0")


directions(
    "tf_efficientnet_b0",
    "EfficientNet",
    image(64),
    timm=tm("tf_efficientnet_b0"),
    lukemelas=lukemelas,
    hf=pixels(
        hf(
            "EfficientNetForImageClassification",
            "EfficientNetConfig",
            num_labels=1000,
            image_size=64,
            width_coefficient=1.0,
            depth_coefficient=1.0,
            dropout_rate=0.2,
            hidden_dim=1280,
        )
    ),
    note="TensorFlow's padding and eps in all",
)
directions(
    "resnet50-cadene",
    "ResNet",
    image(64),
    cadene=cadene("resnet50"),
    timm=tm("resnet50"),
    pytorchcv=pcv("resnet50b"),
    only=("cadene>timm", "cadene>pytorchcv", "timm>cadene"),
)
directions(
    "resnext101-cadene",
    "ResNeXt",
    image(64),
    cadene=cadene("resnext101_32x4d"),
    timm=tm("resnext101_32x4d"),
    pytorchcv=pcv("resnext101_32x4d"),
)
directions(
    "densenet121-cadene",
    "DenseNet",
    image(224),
    cadene=cadene("densenet121"),
    pytorchcv=pcv("densenet121"),
)
directions(
    "mobilenet_v2-hf",
    "MobileNet",
    image(64),
    hf=pixels(
        hf(
            "MobileNetV2ForImageClassification",
            "MobileNetV2Config",
            num_labels=1001,
            tf_padding=False,
            finegrained_output=True,
            layer_norm_eps=1e-5,
            first_layer_is_expansion=True,
        )
    ),
    timm=tm("mobilenetv2_100", num_classes=1001),
    tv=tv("mobilenet_v2", num_classes=1001),
    note="HF's TensorFlow padding off, eps 1e-5",
)
