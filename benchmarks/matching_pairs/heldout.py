"""Pairs that nobody looks at while tuning: other architectures, other libraries, other directions.

Read their totals (`--heldout`), never their messages; whoever reads one moves it to the tuned-on pairs.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
import torchvision
import transformers
from torch import nn

from matching_pairs.builders import cadene, changed, hf, ids, pcv, pixels, replaced, tm, tv
from matching_pairs.frameworks import flax, npz
from matching_pairs.pairs import Pair, Side, add, directions, image, sequence, tokens

VIT = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256}
SMALL = {"image_size": 32, "patch_size": 8, "num_labels": 10}

# --- convolutional networks ----------------------------------------
directions("alexnet", "held out", image(224), tv=tv("alexnet"), pytorchcv=pcv("alexnetb"))
directions(
    "mnasnet", "held out", image(64), tv=tv("mnasnet1_0"), timm=tm("mnasnet_100"), pytorchcv=pcv("mnasnet_b1")
)
directions(
    "legacy-seresnet50", "held out", image(64), cadene=cadene("se_resnet50"), timm=tm("legacy_seresnet50")
)
directions("seresnet50", "held out", image(64), timm=tm("seresnet50"), pytorchcv=pcv("seresnet50b"))
directions(
    "legacy-seresnext50",
    "held out",
    image(64),
    cadene=cadene("se_resnext50_32x4d"),
    timm=tm("legacy_seresnext50_32x4d"),
)
directions(
    "seresnext50", "held out", image(64), timm=tm("seresnext50_32x4d"), pytorchcv=pcv("seresnext50_32x4d")
)
directions("dpn68", "held out", image(224), cadene=cadene("dpn68"), timm=tm("dpn68"), pytorchcv=pcv("dpn68"))
directions(
    "inception_v4",
    "held out",
    image(139),
    cadene=cadene("inceptionv4"),
    timm=tm("inception_v4"),
    pytorchcv=pcv("inceptionv4"),
)
directions(
    "inception_resnet_v2",
    "held out",
    image(139),
    cadene=cadene("inceptionresnetv2"),
    timm=tm("inception_resnet_v2"),
    pytorchcv=pcv("inceptionresnetv2"),
    only=("cadene>pytorchcv", "timm>cadene"),
)
directions(
    "xception",
    "held out",
    image(128),
    cadene=cadene("xception"),
    timm=tm("legacy_xception"),
    pytorchcv=changed(
        pcv("xception"), replaced("features.final_block.pool", lambda: nn.AdaptiveAvgPool2d(1))
    ),
)
directions("bninception", "held out", image(224), cadene=cadene("bninception"), pytorchcv=pcv("bninception"))
directions("hrnet", "held out", image(64), timm=tm("hrnet_w18_small"), pytorchcv=pcv("hrnet_w18_small_v1"))
directions("dla34", "held out", image(64), timm=tm("dla34"), pytorchcv=pcv("dla34"))
directions("selecsls", "held out", image(64), timm=tm("selecsls42b"), pytorchcv=pcv("selecsls42b"))
directions("resnest14", "held out", image(64), timm=tm("resnest14d"), pytorchcv=pcv("resnestabc14"))
directions(
    "regnety_004",
    "held out",
    image(64),
    timm=tm("regnety_004"),
    tv=tv("regnet_y_400mf"),
    pytorchcv=pcv("regnety004"),
)
directions("mixnet", "held out", image(64), timm=tm("mixnet_s"), pytorchcv=pcv("mixnet_s"))
directions("polynet", "held out", image(139), cadene=cadene("polynet"), pytorchcv=pcv("polynet"))
directions("vgg11", "held out", image(224), cadene=cadene("vgg11"), timm=tm("vgg11"))

directions("spnasnet", "held out", image(64), pytorchcv=pcv("spnasnet"), timm=tm("spnasnet_100"))

# --- transformers and what came after ----------------------------------------
directions(
    "swinv2",
    "held out",
    image(64),
    timm=lambda: timm.models.SwinTransformerV2(
        img_size=64,
        patch_size=4,
        window_size=4,
        embed_dim=32,
        depths=(2, 2),
        num_heads=(2, 4),
        num_classes=10,
    ),
    hf=pixels(
        hf(
            "Swinv2ForImageClassification",
            "Swinv2Config",
            image_size=64,
            patch_size=4,
            window_size=4,
            embed_dim=32,
            depths=[2, 2],
            num_heads=[2, 4],
            num_labels=10,
        )
    ),
)
directions(
    "convnextv2",
    "held out",
    image(64),
    timm=tm("convnextv2_atto", num_classes=10),
    hf=pixels(
        hf(
            "ConvNextV2ForImageClassification",
            "ConvNextV2Config",
            hidden_sizes=[40, 80, 160, 320],
            depths=[2, 2, 6, 2],
            num_labels=10,
            layer_norm_eps=1e-6,
        )
    ),
)
directions(
    "mobilevit",
    "held out",
    image(64),
    timm=tm("mobilevit_xxs", num_classes=10),
    hf=pixels(
        hf(
            "MobileViTForImageClassification",
            "MobileViTConfig",
            hidden_sizes=[64, 80, 96],
            neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
            expand_ratio=2.0,
            num_labels=10,
            image_size=64,
        )
    ),
)
directions(
    "focalnet",
    "held out",
    image(64),
    timm=tm("focalnet_tiny_srf", num_classes=10),
    hf=pixels(hf("FocalNetForImageClassification", "FocalNetConfig", num_labels=10, image_size=64)),
)
directions(
    "ijepa",
    "held out",
    image(32),
    timm=lambda: timm.models.VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=3,
        num_heads=4,
        num_classes=0,
        class_token=False,
        global_pool="",
    ),
    hf=pixels(
        lambda: transformers.IJepaModel(
            transformers.IJepaConfig(image_size=32, patch_size=8, layer_norm_eps=1e-6, **VIT),
            add_pooling_layer=False,
        )
    ),
)
directions(
    "deit-tv",
    "held out",
    image(32),
    hf=pixels(hf("DeiTForImageClassification", "DeiTConfig", layer_norm_eps=1e-6, **SMALL, **VIT)),
    msn=pixels(hf("ViTMSNForImageClassification", "ViTMSNConfig", layer_norm_eps=1e-6, **SMALL, **VIT)),
    timm=lambda: timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=3, num_heads=4, num_classes=10
    ),
    tv=lambda: torchvision.models.VisionTransformer(32, 8, 3, 4, 64, 256, num_classes=10),
    only=("msn>timm", "timm>msn", "msn>tv", "tv>msn"),
)
directions(
    "samvit",
    "held out",
    image(64),
    timm=tm(
        "samvit_base_patch16",
        img_size=64,
        embed_dim=64,
        depth=3,
        num_heads=4,
        global_attn_indexes=(2,),
        window_size=2,
        num_classes=0,
        global_pool="",
    ),
    hf=pixels(
        lambda: transformers.SamVisionModel(
            transformers.SamVisionConfig(
                image_size=64,
                patch_size=16,
                hidden_size=64,
                num_hidden_layers=3,
                num_attention_heads=4,
                mlp_dim=256,
                global_attn_indexes=[2],
                window_size=2,
            )
        )
    ),
)

TEXT = {**VIT, "vocab_size": 100, "max_position_embeddings": 40}


class Decoder(nn.Module):
    """OPT as a plain module; queries, keys and values in one Linear."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, width)
        self.where = nn.Embedding(42, width)
        self.h = nn.ModuleList(
            nn.ModuleDict(
                {
                    "n1": nn.LayerNorm(width),
                    "attn_in": nn.Linear(width, 3 * width),
                    "attn_out": nn.Linear(width, width),
                    "n2": nn.LayerNorm(width),
                    "ff_in": nn.Linear(width, 4 * width),
                    "ff_out": nn.Linear(4 * width, width),
                }
            )
            for _ in range(depth)
        )
        self.last = nn.LayerNorm(width)
        self.heads = heads

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids) + self.where(torch.arange(2, ids.shape[1] + 2))
        for b in self.h:
            q, k, v = (
                t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                for t in b["attn_in"](b["n1"](x)).chunk(3, -1)
            )
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + b["attn_out"](y.transpose(1, 2).flatten(2))
            x = x + b["ff_out"](torch.relu(b["ff_in"](b["n2"](x))))
        return self.last(x)


directions(
    "opt",
    "held out",
    tokens(100),
    plain=lambda: Decoder(64, 3, 4),
    hf=ids(
        hf(
            "OPTModel",
            "OPTConfig",
            vocab_size=100,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            ffn_dim=256,
            max_position_embeddings=40,
            word_embed_proj_dim=64,
            pad_token_id=1,
        )
    ),
)
directions(
    "bert-family",
    "held out",
    tokens(100),
    camembert=ids(
        lambda: transformers.CamembertModel(
            transformers.CamembertConfig(type_vocab_size=1, layer_norm_eps=1e-12, **TEXT),
            add_pooling_layer=False,
        ),
        positions=True,
    ),
    megatron=ids(lambda: transformers.LayoutLMModel(transformers.LayoutLMConfig(type_vocab_size=1, **TEXT))),
    ernie=ids(
        lambda: transformers.ErnieModel(
            transformers.ErnieConfig(type_vocab_size=1, use_task_id=False, **TEXT), add_pooling_layer=False
        )
    ),
    data2vec=ids(
        lambda: transformers.Data2VecTextModel(
            transformers.Data2VecTextConfig(type_vocab_size=1, layer_norm_eps=1e-12, **TEXT),
            add_pooling_layer=False,
        ),
        positions=True,
    ),
    only=("camembert>ernie", "ernie>data2vec"),
)
directions(
    "whisper-bart-stack",
    "held out",
    sequence(64),
    bart=Side(
        lambda: Layers(
            transformers.BartModel(
                transformers.BartConfig(
                    d_model=64,
                    encoder_layers=3,
                    encoder_attention_heads=4,
                    encoder_ffn_dim=256,
                    vocab_size=100,
                    decoder_layers=1,
                    max_position_embeddings=40,
                )
            ).encoder.layers
        )
    ),
    torch=lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(64, 4, 256, activation="gelu", batch_first=True),
        3,
        enable_nested_tensor=False,
    ),
    bert=Side(lambda: transformers.BertModel(transformers.BertConfig(layer_norm_eps=1e-5, **TEXT)).encoder),
    only=("bart>torch", "torch>bart", "bart>bert", "bert>bart"),
)
LLAMA = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
directions(
    "mistral-phi3",
    "held out",
    tokens(100),
    mistral=ids(hf("MistralForCausalLM", "MistralConfig", sliding_window=None, **LLAMA)),
    phi3=ids(hf("Phi3ForCausalLM", "Phi3Config", **LLAMA)),
)


class Layers(nn.Module):
    """A library's layers, one after the other."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
        return x


# --- layouts and wrappers over them ----------------------------------------
def held(name: str, how: Any, source: Any, target: Any, inputs: Any, **more: Any) -> None:
    sides = [side if isinstance(side, Side) else Side(side) for side in (source, target)]
    add(Pair(f"held:{name}", "held out", sides[0], sides[1], inputs, held=how, **more))


held("flax-efficientnet", npz(flax()), tm("efficientnet_lite0"), tm("efficientnet_lite0"), image(64))
held(
    "module-inside-dla",
    lambda s: {f"module.model.{k}": v for k, v in s.items()},
    tm("dla34"),
    pcv("dla34"),
    image(64),
)
held(
    "sorted-hrnet",
    lambda s: dict(sorted(s.items())),
    tm("hrnet_w18_small"),
    pcv("hrnet_w18_small_v1"),
    image(64),
)
held(
    "flax-mobilevit",
    flax(),
    tm("mobilevit_xxs", num_classes=10),
    tm("mobilevit_xxs", num_classes=10),
    image(64),
)
held(
    "teacher-convnextv2",
    lambda s: {f"student.{k}": t + 1.0 for k, t in s.items()} | {f"teacher.{k}": t for k, t in s.items()},
    tm("convnextv2_atto", num_classes=10),
    pixels(
        hf(
            "ConvNextV2ForImageClassification",
            "ConvNextV2Config",
            hidden_sizes=[40, 80, 160, 320],
            depths=[2, 2, 6, 2],
            num_labels=10,
            layer_norm_eps=1e-6,
        )
    ),
    image(64),
)
