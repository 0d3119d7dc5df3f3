"""Small models of transformers' classes: `build(name)` makes one from a config, without any download."""

from __future__ import annotations

from typing import Any

import transformers
from torch import nn

__all__ = ["AUDIO", "CTC", "DETECTION", "EVERY", "TEXT", "VISION", "build"]

Options = dict[str, Any]

_VIT: Options = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
_STAGES: Options = {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}
_RESNET: Options = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1]}
_SWIN: Options = {
    "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": 32,
    "patch_size": 4,
}  # fmt: skip
_CLIP_VISION: Options = {**_VIT, "projection_dim": 8}
_CLIP_TEXT: Options = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 50, "projection_dim": 8,
}  # fmt: skip
_MOBILEVIT: Options = {
    "hidden_sizes": [8, 12, 16], "neck_hidden_sizes": [4, 8, 8, 8, 12, 16, 32], "num_attention_heads": 2,
    "image_size": 64, "aspp_out_channels": 8,
}  # fmt: skip
_SEGFORMER: Options = {
    "hidden_sizes": [4, 8, 8, 8], "num_attention_heads": [1, 2, 2, 2], "depths": [1, 1, 1, 1],
    "decoder_hidden_size": 8,
}  # fmt: skip
_BEIT_SEGMENTATION: Options = {
    **_VIT, "num_hidden_layers": 4, "patch_size": 16, "image_size": 64, "out_indices": [1, 2, 3, 4],
    "pool_scales": [1, 2],
}  # fmt: skip
_DETR: Options = {
    "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 5,
    "use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None,
    "backbone_config": ("ResNetConfig", {**_RESNET, "hidden_sizes": [8, 12, 12, 16], "depths": [1, 1, 1, 1],
                                         "out_features": ["stage4"]}),
}  # fmt: skip
_FOUR_SWIN: Options = {
    **_SWIN, "depths": [1, 1, 1, 1], "num_heads": [2, 2, 2, 2], "image_size": 64,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
_FOUR_RESNET: Options = {
    "embedding_size": 8, "hidden_sizes": [8, 12, 12, 16], "depths": [1, 1, 1, 1],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
_BERT: Options = {
    "vocab_size": 60, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 64, "embedding_size": 8,
}  # fmt: skip
_ENCODER_DECODER: Options = {
    "vocab_size": 60, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
}  # fmt: skip
_T5: Options = {
    "vocab_size": 60, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2,
    "decoder_start_token_id": 0,
}  # fmt: skip
_LLAMA: Options = {
    "vocab_size": 60, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 64,
    "pad_token_id": 0,
}  # fmt: skip
_GPT2: Options = {
    "vocab_size": 60, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 64, "pad_token_id": 0,
    "hidden_size": 8, "num_layers": 1, "num_hidden_layers": 1, "num_heads": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 64,
}  # fmt: skip
_WAV2VEC2: Options = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "conv_dim": [8, 8], "conv_stride": [5, 4], "conv_kernel": [10, 8], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8,
    "vocab_size": 12, "tdnn_dim": [8, 8], "tdnn_kernel": [3, 3], "tdnn_dilation": [1, 1],
    "xvector_output_dim": 8, "squeeze_factor": 2,
}  # fmt: skip

VISION: dict[str, tuple[str, Options]] = {
    "ViTForImageClassification": ("ViTConfig", _VIT),
    "DeiTForImageClassification": ("DeiTConfig", _VIT),
    "DeiTForImageClassificationWithTeacher": ("DeiTConfig", _VIT),
    "ViTMSNForImageClassification": ("ViTMSNConfig", _VIT),
    "IJepaForImageClassification": ("IJepaConfig", _VIT),
    "BeitForImageClassification": ("BeitConfig", _VIT),
    "BeitForSemanticSegmentation": ("BeitConfig", _BEIT_SEGMENTATION),
    "Data2VecVisionForImageClassification": ("Data2VecVisionConfig", _VIT),
    "Data2VecVisionForSemanticSegmentation": ("Data2VecVisionConfig", _BEIT_SEGMENTATION),
    "ConvNextForImageClassification": ("ConvNextConfig", _STAGES),
    "ConvNextV2ForImageClassification": ("ConvNextV2Config", _STAGES),
    "SwinForImageClassification": ("SwinConfig", _SWIN),
    "Swinv2ForImageClassification": ("Swinv2Config", _SWIN),
    "DonutSwinForImageClassification": ("DonutSwinConfig", _SWIN),
    "ResNetForImageClassification": ("ResNetConfig", _RESNET),
    "RegNetForImageClassification": ("RegNetConfig", {**_RESNET, "groups_width": 4}),
    "BitForImageClassification": ("BitConfig", {**_RESNET, "hidden_sizes": [128, 128], "embedding_size": 32}),
    "MobileNetV1ForImageClassification": ("MobileNetV1Config", {"depth_multiplier": 0.125}),
    "MobileNetV2ForImageClassification": ("MobileNetV2Config", {"depth_multiplier": 0.25}),
    "MobileNetV2ForSemanticSegmentation": ("MobileNetV2Config", {"depth_multiplier": 0.25}),
    "MobileViTForImageClassification": ("MobileViTConfig", _MOBILEVIT),
    "MobileViTForSemanticSegmentation": ("MobileViTConfig", _MOBILEVIT),
    "MobileViTV2ForImageClassification": ("MobileViTV2Config", {"image_size": 64, "width_multiplier": 0.25}),
    "MobileViTV2ForSemanticSegmentation": (
        "MobileViTV2Config", {"image_size": 64, "width_multiplier": 0.25, "aspp_out_channels": 8}
    ),
    "EfficientNetForImageClassification": (
        "EfficientNetConfig", {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320,
                               "image_size": 64}
    ),
    "LevitForImageClassification": (
        "LevitConfig", {"image_size": 64, "hidden_sizes": [16, 24, 32], "depths": [1, 1, 1],
                        "num_attention_heads": [2, 2, 2], "key_dim": [4, 4, 4]}
    ),
    "LevitForImageClassificationWithTeacher": (
        "LevitConfig", {"image_size": 64, "hidden_sizes": [16, 24, 32], "depths": [1, 1, 1],
                        "num_attention_heads": [2, 2, 2], "key_dim": [4, 4, 4]}
    ),
    "PoolFormerForImageClassification": (
        "PoolFormerConfig", {"hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1]}
    ),
    "CvtForImageClassification": (
        "CvtConfig", {"embed_dim": [4, 8, 8], "num_heads": [1, 2, 2], "depth": [1, 2, 3],
                      "patch_sizes": [7, 3, 3], "patch_stride": [4, 2, 2], "patch_padding": [2, 1, 1]}
    ),
    "Dinov2ForImageClassification": ("Dinov2Config", _VIT),
    "Dinov2WithRegistersForImageClassification": ("Dinov2WithRegistersConfig", _VIT),
    "PvtForImageClassification": (
        "PvtConfig", {"hidden_sizes": [4, 8, 8, 8], "num_attention_heads": [1, 2, 2, 2],
                      "depths": [1, 1, 1, 1], "image_size": 64}
    ),
    "PvtV2ForImageClassification": (
        "PvtV2Config", {"hidden_sizes": [4, 8, 8, 8], "num_attention_heads": [1, 2, 2, 2],
                        "depths": [1, 1, 1, 1], "image_size": 64}
    ),
    "SegformerForImageClassification": ("SegformerConfig", _SEGFORMER),
    "SegformerForSemanticSegmentation": ("SegformerConfig", _SEGFORMER),
    "UperNetForSemanticSegmentation": (
        "UperNetConfig", {"backbone_config": ("ConvNextConfig",
                                              {"hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1],
                                               "out_features": ["stage1", "stage2", "stage3", "stage4"]}),
                          "hidden_size": 8, "auxiliary_channels": 8, "auxiliary_in_channels": 8,
                          "pool_scales": [1, 2]}
    ),
    "DPTForSemanticSegmentation": (
        "DPTConfig", {**_VIT, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3],
                      "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "is_hybrid": False}
    ),
    "SiglipForImageClassification": (
        "SiglipConfig", {"vision_config": _CLIP_VISION, "text_config": _CLIP_TEXT}
    ),
    "CLIPForImageClassification": ("CLIPConfig", {"vision_config": _CLIP_VISION, "text_config": _CLIP_TEXT}),
    "MetaClip2ForImageClassification": (
        "MetaClip2Config", {"vision_config": _CLIP_VISION, "text_config": _CLIP_TEXT}
    ),
    "FocalNetForImageClassification": ("FocalNetConfig", {"embed_dim": 8, "depths": [1, 1], "image_size": 32,
                                                          "focal_levels": [1, 1], "focal_windows": [3, 3]}),
    "HieraForImageClassification": (
        "HieraConfig", {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "image_size": [32, 32],
                        "num_query_pool": 1, "patch_stride": [4, 4], "patch_size": [7, 7]}
    ),
    "SwiftFormerForImageClassification": (
        "SwiftFormerConfig", {"depths": [1, 1, 1, 1], "embed_dims": [8, 8, 8, 8], "image_size": 64}
    ),
    "TextNetForImageClassification": (
        "TextNetConfig", {"stem_out_channels": 8, "hidden_sizes": [8, 8, 8, 8, 8]}
    ),
    "HGNetV2ForImageClassification": (
        "HGNetV2Config", {"stem_channels": [3, 8, 8], "embedding_size": 8, "hidden_sizes": [8, 8],
                          "depths": [1, 1], "stage_in_channels": [8, 8], "stage_mid_channels": [8, 8],
                          "stage_out_channels": [8, 8], "stage_num_blocks": [1, 1],
                          "stage_downsample": [False, True], "stage_light_block": [False, True],
                          "stage_kernel_size": [3, 3], "stage_numb_of_layers": [2, 2]}
    ),
    "PPLCNetForImageClassification": ("PPLCNetConfig", {"scale": 0.25}),
    "Siglip2ForImageClassification": (
        "Siglip2Config", {"vision_config": {**_VIT, "num_patches": 16}, "text_config": _CLIP_TEXT}
    ),
    "ImageGPTForImageClassification": (
        "ImageGPTConfig", {"vocab_size": 30, "n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 2}
    ),
    "VideoMAEForVideoClassification": ("VideoMAEConfig", {**_VIT, "num_frames": 4}),
    "TimesformerForVideoClassification": ("TimesformerConfig", {**_VIT, "num_frames": 2}),
    "VivitForVideoClassification": ("VivitConfig", {**_VIT, "num_frames": 4, "tubelet_size": [2, 8, 8]}),
    "VJEPA2ForVideoClassification": (
        "VJEPA2Config", {**_VIT, "crop_size": 32, "frames_per_clip": 4, "mlp_ratio": 2.0,
                         "pred_hidden_size": 12, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1,
                         "pred_num_mask_tokens": 2, "hidden_size": 12, "num_pooler_layers": 1}
    ),
    "PerceiverForImageClassificationLearned": (
        "PerceiverConfig", {"num_latents": 4, "d_latents": 8, "d_model": 8, "num_blocks": 1,
                            "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
                            "num_cross_attention_heads": 1, "image_size": 16}
    ),
    "PerceiverForImageClassificationConvProcessing": (
        "PerceiverConfig", {"num_latents": 4, "d_latents": 8, "d_model": 322, "num_blocks": 1,
                            "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
                            "num_cross_attention_heads": 1, "image_size": 16}
    ),
    "PerceiverForImageClassificationFourier": (
        "PerceiverConfig", {"num_latents": 4, "d_latents": 8, "d_model": 261, "num_blocks": 1,
                            "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
                            "num_cross_attention_heads": 1, "image_size": 16}
    ),
}  # fmt: skip

DETECTION: dict[str, tuple[str, Options]] = {
    "DetrForObjectDetection": ("DetrConfig", _DETR),
    "ConditionalDetrForObjectDetection": ("ConditionalDetrConfig", _DETR),
    "TableTransformerForObjectDetection": ("TableTransformerConfig", _DETR),
    "YolosForObjectDetection": (
        "YolosConfig", {**_VIT, "image_size": [32, 32], "num_detection_tokens": 5}
    ),
    "DeformableDetrForObjectDetection": (
        "DeformableDetrConfig", {**_DETR, "d_model": 32, "num_feature_levels": 2, "encoder_n_points": 2,
                                 "decoder_n_points": 2, "decoder_layers": 2,
                                 "backbone_config": ("ResNetConfig", {**_FOUR_RESNET,
                                                                      "out_features": ["stage3", "stage4"]})}
    ),
    "RTDetrForObjectDetection": (
        "RTDetrConfig", {"encoder_hidden_dim": 8, "encoder_in_channels": [12, 12, 16], "d_model": 8,
                         "decoder_in_channels": [8, 8, 8], "num_queries": 5, "decoder_layers": 2,
                         "decoder_ffn_dim": 16, "encoder_ffn_dim": 16, "encoder_attention_heads": 2,
                         "decoder_attention_heads": 2, "num_denoising": 4,
                         "backbone_config": ("RTDetrResNetConfig",
                                             {**_FOUR_RESNET, "layer_type": "basic",
                                              "out_features": ["stage2", "stage3", "stage4"]})}
    ),
    "EomtForUniversalSegmentation": (
        "EomtConfig", {**_VIT, "num_blocks": 1, "num_queries": 5, "num_upscale_blocks": 1}
    ),
    "MaskFormerForInstanceSegmentation": (
        "MaskFormerConfig", {"backbone_config": ("SwinConfig", _FOUR_SWIN), "fpn_feature_size": 32,
                             "mask_feature_size": 32,
                             "decoder_config": ("DetrConfig", _DETR)}
    ),
    "Mask2FormerForUniversalSegmentation": (
        "Mask2FormerConfig", {"backbone_config": ("SwinConfig", _FOUR_SWIN), "feature_size": 32,
                              "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 16,
                              "dim_feedforward": 16, "encoder_layers": 1, "decoder_layers": 2,
                              "num_attention_heads": 2, "num_queries": 5}
    ),
}  # fmt: skip

TEXT: dict[str, tuple[str, Options]] = {
    "BertForSequenceClassification": ("BertConfig", _BERT),
    "BertForTokenClassification": ("BertConfig", _BERT),
    "RobertaForSequenceClassification": ("RobertaConfig", _BERT),
    "RobertaForTokenClassification": ("RobertaConfig", _BERT),
    "XLMRobertaForSequenceClassification": ("XLMRobertaConfig", _BERT),
    "CamembertForSequenceClassification": ("CamembertConfig", _BERT),
    "DistilBertForSequenceClassification": (
        "DistilBertConfig", {"vocab_size": 60, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    ),
    "DistilBertForTokenClassification": (
        "DistilBertConfig", {"vocab_size": 60, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    ),
    "AlbertForSequenceClassification": ("AlbertConfig", _BERT),
    "ElectraForSequenceClassification": ("ElectraConfig", _BERT),
    "DebertaForSequenceClassification": ("DebertaConfig", _BERT),
    "DebertaV2ForSequenceClassification": ("DebertaV2Config", _BERT),
    "DebertaV2ForTokenClassification": ("DebertaV2Config", _BERT),
    "MPNetForSequenceClassification": ("MPNetConfig", _BERT),
    "ModernBertForSequenceClassification": ("ModernBertConfig", {**_BERT, "pad_token_id": 0}),
    "SqueezeBertForSequenceClassification": (
        "SqueezeBertConfig", {**_BERT, "q_groups": 1, "k_groups": 1, "v_groups": 1,
                              "post_attention_groups": 1,
                              "intermediate_groups": 1, "output_groups": 1}
    ),
    "FNetForSequenceClassification": ("FNetConfig", _BERT),
    "ConvBertForSequenceClassification": (
        "ConvBertConfig", {**_BERT, "hidden_size": 16, "num_attention_heads": 4, "head_ratio": 2,
                           "conv_kernel_size": 3, "embedding_size": 16}
    ),
    "RoFormerForSequenceClassification": ("RoFormerConfig", _BERT),
    "LongformerForSequenceClassification": ("LongformerConfig", {**_BERT, "attention_window": 4}),
    "BigBirdForSequenceClassification": ("BigBirdConfig", {**_BERT, "attention_type": "original_full"}),
    "XLNetForSequenceClassification": (
        "XLNetConfig", {"vocab_size": 60, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 16}
    ),
    "BartForSequenceClassification": ("BartConfig", _ENCODER_DECODER),
    "MBartForSequenceClassification": ("MBartConfig", _ENCODER_DECODER),
    "T5ForSequenceClassification": ("T5Config", _T5),
    "T5ForTokenClassification": ("T5Config", _T5),
    "GPT2ForSequenceClassification": ("GPT2Config", _GPT2),
    "GPT2ForTokenClassification": ("GPT2Config", _GPT2),
    "GPTNeoXForSequenceClassification": ("GPTNeoXConfig", _LLAMA),
    "BloomForSequenceClassification": ("BloomConfig", _GPT2),
    "OPTForSequenceClassification": (
        "OPTConfig", {"vocab_size": 60, "hidden_size": 8, "ffn_dim": 16, "num_hidden_layers": 1,
                      "num_attention_heads": 2, "word_embed_proj_dim": 8, "pad_token_id": 1,
                      "max_position_embeddings": 64}
    ),
    "LlamaForSequenceClassification": ("LlamaConfig", _LLAMA),
    "LlamaForTokenClassification": ("LlamaConfig", _LLAMA),
    "MistralForSequenceClassification": ("MistralConfig", _LLAMA),
    "Qwen2ForSequenceClassification": ("Qwen2Config", _LLAMA),
    "Qwen3ForSequenceClassification": ("Qwen3Config", _LLAMA),
    "GemmaForSequenceClassification": ("GemmaConfig", _LLAMA),
    "Gemma2ForSequenceClassification": ("Gemma2Config", _LLAMA),
    "PhiForSequenceClassification": ("PhiConfig", {**_LLAMA, "num_key_value_heads": 2}),
    "MixtralForSequenceClassification": ("MixtralConfig", {**_LLAMA, "num_local_experts": 2}),
    "MobileBertForSequenceClassification": (
        "MobileBertConfig", {**_BERT, "intra_bottleneck_size": 8, "true_hidden_size": 8}
    ),
    "MegatronBertForSequenceClassification": ("MegatronBertConfig", _BERT),
    "RemBertForSequenceClassification": (
        "RemBertConfig", {**_BERT, "input_embedding_size": 8, "output_embedding_size": 8}
    ),
    "ErnieForSequenceClassification": ("ErnieConfig", _BERT),
    "EsmForSequenceClassification": ("EsmConfig", {**_BERT, "pad_token_id": 1, "mask_token_id": 3}),
    "IBertForSequenceClassification": ("IBertConfig", _BERT),
    "XLMRobertaXLForSequenceClassification": ("XLMRobertaXLConfig", _BERT),
    "LayoutLMForSequenceClassification": ("LayoutLMConfig", _BERT),
    "LayoutLMv3ForSequenceClassification": (
        "LayoutLMv3Config", {**_BERT, "hidden_size": 12, "coordinate_size": 2, "shape_size": 2,
                             "input_size": 32, "patch_size": 8}
    ),
    "LiltForSequenceClassification": ("LiltConfig", {**_BERT, "hidden_size": 24}),
    "MarkupLMForSequenceClassification": ("MarkupLMConfig", _BERT),
    "FunnelForSequenceClassification": (
        "FunnelConfig", {"vocab_size": 60, "block_sizes": [1, 1], "d_model": 8, "n_head": 2, "d_head": 4,
                         "d_inner": 16}
    ),
    "XLMForSequenceClassification": (
        "XLMConfig", {"vocab_size": 60, "emb_dim": 8, "n_layers": 1, "n_heads": 2}
    ),
    "FlaubertForSequenceClassification": (
        "FlaubertConfig", {"vocab_size": 60, "emb_dim": 8, "n_layers": 1, "n_heads": 2}
    ),
    "CTRLForSequenceClassification": ("CTRLConfig", {**_GPT2, "dff": 16}),
    "PLBartForSequenceClassification": ("PLBartConfig", _ENCODER_DECODER),
    "MT5ForSequenceClassification": ("MT5Config", _T5),
    "UMT5ForSequenceClassification": ("UMT5Config", _T5),
    "GPTNeoForSequenceClassification": (
        "GPTNeoConfig", {"vocab_size": 60, "hidden_size": 8, "num_layers": 1, "num_heads": 2,
                         "attention_types": [[["global"], 1]], "max_position_embeddings": 64,
                         "pad_token_id": 0}
    ),
    "GPTJForSequenceClassification": ("GPTJConfig", {**_GPT2, "rotary_dim": 4}),
    "GPTBigCodeForSequenceClassification": ("GPTBigCodeConfig", _GPT2),
    "FalconForSequenceClassification": (
        "FalconConfig", {"vocab_size": 60, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                         "pad_token_id": 0}
    ),
    "MptForSequenceClassification": (
        "MptConfig", {"vocab_size": 60, "d_model": 8, "n_heads": 2, "n_layers": 1, "pad_token_id": 0}
    ),
    "Phi3ForSequenceClassification": ("Phi3Config", _LLAMA),
    "StableLmForSequenceClassification": ("StableLmConfig", _LLAMA),
    "Starcoder2ForSequenceClassification": ("Starcoder2Config", _LLAMA),
    "SmolLM3ForSequenceClassification": ("SmolLM3Config", _LLAMA),
    "Gemma3TextForSequenceClassification": ("Gemma3TextConfig", _LLAMA),
    "NemotronForSequenceClassification": ("NemotronConfig", _LLAMA),
    "PersimmonForSequenceClassification": ("PersimmonConfig", _LLAMA),
    "Qwen2MoeForSequenceClassification": (
        "Qwen2MoeConfig", {**_LLAMA, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8,
                           "shared_expert_intermediate_size": 8}
    ),
    "OpenAIGPTForSequenceClassification": ("OpenAIGPTConfig", _GPT2),
    "BioGptForSequenceClassification": ("BioGptConfig", _BERT),
    "CanineForSequenceClassification": (
        "CanineConfig", {**_BERT, "num_hash_functions": 2, "num_hash_buckets": 16, "downsampling_rate": 2,
                         "local_transformer_stride": 4}
    ),
    "PerceiverForSequenceClassification": (
        "PerceiverConfig", {"num_latents": 4, "d_latents": 8, "d_model": 8, "num_blocks": 1,
                            "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
                            "num_cross_attention_heads": 2, "vocab_size": 60, "max_position_embeddings": 32}
    ),
}  # fmt: skip

AUDIO: dict[str, tuple[str, Options]] = {
    "Wav2Vec2ForSequenceClassification": ("Wav2Vec2Config", _WAV2VEC2),
    "Wav2Vec2ForAudioFrameClassification": ("Wav2Vec2Config", _WAV2VEC2),
    "Wav2Vec2ForXVector": ("Wav2Vec2Config", _WAV2VEC2),
    "HubertForSequenceClassification": ("HubertConfig", _WAV2VEC2),
    "WavLMForSequenceClassification": ("WavLMConfig", _WAV2VEC2),
    "UniSpeechSatForSequenceClassification": ("UniSpeechSatConfig", _WAV2VEC2),
    "SEWForSequenceClassification": ("SEWConfig", _WAV2VEC2),
    "Data2VecAudioForSequenceClassification": ("Data2VecAudioConfig", _WAV2VEC2),
    "Wav2Vec2ConformerForSequenceClassification": ("Wav2Vec2ConformerConfig", _WAV2VEC2),
    "Wav2Vec2BertForSequenceClassification": ("Wav2Vec2BertConfig", _WAV2VEC2),
    "ASTForAudioClassification": (
        "ASTConfig", {**_VIT, "max_length": 64, "num_mel_bins": 32, "patch_size": 16}
    ),
    "WhisperForAudioClassification": (
        "WhisperConfig", {**_ENCODER_DECODER, "num_mel_bins": 16, "max_source_positions": 64,
                          "classifier_proj_size": 8, "pad_token_id": 0}
    ),
}  # fmt: skip

CTC: dict[str, tuple[str, Options]] = {
    "Wav2Vec2ForCTC": ("Wav2Vec2Config", _WAV2VEC2),
    "HubertForCTC": ("HubertConfig", _WAV2VEC2),
    "WavLMForCTC": ("WavLMConfig", _WAV2VEC2),
}

EVERY = {**VISION, **DETECTION, **TEXT, **AUDIO, **CTC}


def build(name: str) -> nn.Module:
    """A small model of that class, with 3 input channels; its published configs are not asked for."""
    kind, options = EVERY[name]
    model: nn.Module = getattr(transformers, name)(_config(kind, options))
    return model


def _config(kind: str, options: Options) -> Any:
    given = {key: _config(*value) if isinstance(value, tuple) else value for key, value in options.items()}
    return getattr(transformers, kind)(**given)
