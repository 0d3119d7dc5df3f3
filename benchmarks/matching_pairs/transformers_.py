"""Transformers over torchvision, timm, transformers, open_clip, nn.TransformerEncoder and plain modules."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import open_clip
import timm
import torch
import torchvision
import transformers
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer

from matching_pairs import plain
from matching_pairs.builders import embedded, hf, ids, pixels, zero
from matching_pairs.pairs import REGISTRY, Build, Side, add, directions, image, sequence, tokens

VIT = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256}
SMALL = {"image_size": 32, "patch_size": 8, "num_labels": 10}


def tv_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 3, 4, 64, 256, num_classes=10)


def tm_vit(**arguments: Any) -> Build:
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 4, "num_classes": 10}
    return lambda: timm.models.VisionTransformer(**{**shape, **arguments})


directions(
    "vit",
    "ViT",
    image(32),
    tv=tv_vit,
    timm=tm_vit(),
    hf=pixels(hf("ViTForImageClassification", "ViTConfig", layer_norm_eps=1e-6, **SMALL, **VIT)),
    plain=lambda: plain.PlainViT(32, 8, 3, 64, 3, 4, 10),
    arguments={f"plain>{target}": {"layouts": {"embed.weight": "OIHW"}} for target in ("tv", "timm", "hf")},
    note="HF's layer_norm_eps set to 1e-6; how plain's patches are flattened is said",
)
directions(
    "deit",
    "DeiT",
    image(32),
    timm=lambda: timm.models.deit.VisionTransformerDistilled(
        img_size=32, patch_size=8, embed_dim=64, depth=3, num_heads=4, num_classes=10
    ),
    hf=pixels(hf("DeiTForImageClassificationWithTeacher", "DeiTConfig", layer_norm_eps=1e-6, **SMALL, **VIT)),
    note="HF's layer_norm_eps set to 1e-6",
)
directions(
    "dinov2",
    "DINOv2",
    image(32),
    timm=tm_vit(init_values=1e-5, num_classes=0, global_pool=""),
    hf=pixels(hf("Dinov2Model", "Dinov2Config", image_size=32, patch_size=8, mlp_ratio=4, **VIT)),
    arguments={"hf": {"allow_fresh": "embeddings.mask_token"}},
    note="timm has no mask token",
)
directions(
    "dinov2-swiglu",
    "DINOv2",
    image(32),
    timm=tm_vit(
        init_values=1e-5,
        num_classes=0,
        global_pool="",
        mlp_ratio=5.5,
        mlp_layer=timm.layers.SwiGLUPacked,
        act_layer=nn.SiLU,
    ),
    hf=pixels(
        hf(
            "Dinov2Model",
            "Dinov2Config",
            image_size=32,
            patch_size=8,
            mlp_ratio=4,
            use_swiglu_ffn=True,
            **VIT,
        )
    ),
    arguments={
        "timm>hf": {"allow_fresh": "embeddings.mask_token", "fused": {"fc1": "gate_up"}},
        "hf>timm": {"fused": {"fc1": "gate_up"}},
    },
    note="timm has no mask token, and does not name what it fuses, which is said",
)
for unsaid in ("vit:plain>tv", "dinov2-swiglu:timm>hf", "dinov2-swiglu:hf>timm"):
    add(
        replace(REGISTRY[unsaid], name=f"trap:unsaid/{unsaid}", family="traps", arguments={}, expect="refuse")
    )
directions(
    "beit",
    "BEiT",
    image(32),
    timm=lambda: timm.models.beit.Beit(
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=3,
        num_heads=4,
        num_classes=10,
        init_values=0.1,
        use_abs_pos_emb=False,
        use_rel_pos_bias=True,
    ),
    hf=pixels(
        hf(
            "BeitForImageClassification",
            "BeitConfig",
            layer_norm_eps=1e-6,
            use_mean_pooling=True,
            use_relative_position_bias=True,
            use_absolute_position_embeddings=False,
            layer_scale_init_value=0.1,
            use_mask_token=False,
            **SMALL,
            **VIT,
        )
    ),
    note="HF's layer_norm_eps set to 1e-6",
)
directions(
    "swin",
    "Swin",
    image(64),
    timm=lambda: timm.models.SwinTransformer(
        img_size=64,
        patch_size=4,
        window_size=4,
        embed_dim=32,
        depths=(2, 2),
        num_heads=(2, 4),
        num_classes=10,
    ),
    tv=lambda: SwinTransformer([4, 4], 32, [2, 2], [2, 4], [4, 4], num_classes=10),
    hf=pixels(
        hf(
            "SwinForImageClassification",
            "SwinConfig",
            image_size=64,
            patch_size=4,
            window_size=4,
            embed_dim=32,
            depths=[2, 2],
            num_heads=[2, 4],
            num_labels=10,
        )
    ),
    note="all eps 1e-5",
)


TEXT = torch.tensor([[1, 5, 9, 30, 99, 0, 0, 0], [1, 7, 8, 3, 12, 99, 0, 0], [1, 40, 99, 0, 0, 0, 0, 0]])


def open_clip_model() -> nn.Module:
    vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 100, "width": 48, "heads": 4, "layers": 2}
    return open_clip.CLIP(32, vision, text, quick_gelu=True)


def hf_clip(model: str = "CLIPModel", **arguments: Any) -> Build:
    vision = {**VIT, "image_size": 32, "patch_size": 8, "projection_dim": 32}
    text = {
        "vocab_size": 100,
        "hidden_size": 48,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 8,
        "eos_token_id": 99,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    config = partial(transformers.CLIPConfig, vision_config=vision, text_config=text, projection_dim=32)
    return lambda: getattr(transformers, model)(config(**arguments))


def open_clip_logits(result: Any) -> torch.Tensor:
    pictures, words, scale = result[:3]
    return scale * pictures @ words.t()


directions(
    "clip",
    "CLIP",
    image(32),
    open_clip=Side(open_clip_model, feed=lambda x: (x, TEXT), pick=open_clip_logits),
    hf=Side(
        hf_clip(), feed=lambda x: {"pixel_values": x, "input_ids": TEXT}, pick=lambda r: r.logits_per_image
    ),
)
directions(
    "clip-vision",
    "CLIP",
    image(32),
    timm=tm_vit(
        pre_norm=True,
        num_classes=0,
        act_layer=timm.layers.get_act_layer("quick_gelu"),
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    ),
    hf=pixels(
        lambda: transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(image_size=32, patch_size=8, **VIT)
        ),
        pick=lambda result: result.pooler_output,
    ),
    note="timm's patch embedding without a bias, as CLIP's; eps 1e-5",
)

BERT = {**VIT, "vocab_size": 100, "max_position_embeddings": 40}
bert_types = "embeddings.token_type_embeddings.weight"
directions(
    "bert",
    "BERT",
    tokens(100),
    bert=ids(
        lambda: transformers.BertModel(
            transformers.BertConfig(type_vocab_size=1, **BERT), add_pooling_layer=False
        )
    ),
    roberta=ids(
        lambda: transformers.RobertaModel(
            transformers.RobertaConfig(type_vocab_size=1, layer_norm_eps=1e-12, **BERT),
            add_pooling_layer=False,
        ),
        positions=True,
    ),
    electra=ids(hf("ElectraModel", "ElectraConfig", embedding_size=64, type_vocab_size=1, **BERT)),
    note="RoBERTa is told its positions, and gets BERT's eps",
)
directions(
    "bert-no-types",
    "BERT",
    tokens(100),
    bert=ids(
        lambda: transformers.BertModel(
            transformers.BertConfig(type_vocab_size=1, **BERT), add_pooling_layer=False
        ),
        settle=zero(bert_types),
    ),
    distilbert=ids(
        hf(
            "DistilBertModel",
            "DistilBertConfig",
            vocab_size=100,
            max_position_embeddings=40,
            dim=64,
            n_layers=3,
            n_heads=4,
            hidden_dim=256,
        )
    ),
    plain=lambda: plain.PlainBert(100, 40, 64, 3, 4),
    arguments={"bert": {"allow_fresh": bert_types}},
    note="BERT's token types are zero: DistilBERT has none",
)
directions(
    "encoder",
    "nn.TransformerEncoder",
    sequence(64),
    torch=lambda: plain.torch_encoder(64, 3, 4),
    bert=embedded(
        lambda: transformers.BertModel(transformers.BertConfig(attn_implementation="sdpa", **BERT)).encoder
    ),
    distilbert=Side(
        lambda: (
            transformers.DistilBertModel(
                transformers.DistilBertConfig(dim=64, n_layers=3, n_heads=4, hidden_dim=256)
            ).transformer
        )
    ),
    plain=lambda: plain.PlainEncoder(64, 3, 4),
    note="eps 1e-12",
    only=(
        "torch>bert",
        "bert>torch",
        "torch>plain",
        "plain>torch",
        "torch>distilbert",
        "distilbert>torch",
        "plain>bert",
    ),
)


def timm_stack() -> nn.Module:
    model = tm_vit()()
    return plain.TokenStack(model.blocks, model.norm)


def hf_stack() -> nn.Module:
    model = transformers.ViTModel(transformers.ViTConfig(layer_norm_eps=1e-6, **VIT), add_pooling_layer=False)
    return plain.TokenStack(
        model.layers if hasattr(model, "layers") else model.encoder.layer, model.layernorm
    )


directions(
    "prenorm-encoder",
    "nn.TransformerEncoder",
    sequence(64),
    torch=lambda: plain.torch_encoder(64, 3, 4, first=True, norm=True),
    timm=timm_stack,
    hf=hf_stack,
    only=("torch>timm", "timm>torch", "torch>hf", "hf>torch"),
)

GPT = {"vocab_size": 100, "n_positions": 40, "n_embd": 64, "n_layer": 3, "n_head": 4}
directions(
    "gpt2",
    "GPT-2",
    tokens(100),
    hf=ids(hf("GPT2LMHeadModel", "GPT2Config", **GPT)),
    split=lambda: plain.PlainGPT(100, 40, 64, 3, 4, fused=False),
    fused=lambda: plain.PlainGPT(100, 40, 64, 3, 4, fused=True),
)
LLAMA = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
directions(
    "llama-phi3",
    "LLaMA",
    tokens(100),
    llama=ids(hf("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=4, **LLAMA)),
    phi3=ids(hf("Phi3ForCausalLM", "Phi3Config", num_key_value_heads=4, **LLAMA)),
)
directions(
    "llama-phi3-grouped",
    "LLaMA",
    tokens(100),
    llama=ids(hf("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2, **LLAMA)),
    phi3=ids(hf("Phi3ForCausalLM", "Phi3Config", num_key_value_heads=2, **LLAMA)),
)
