"""transformers' own processors are the oracle: the same pixels from the same picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.model_info import Preprocessing
from torchgraft.zoo.image_processors import KNOWN, preprocessing_in

transformers = pytest.importorskip("transformers")

SIZE = (350, 250)  # where half of what is cut off is whole: else the two crops lie one pixel apart


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def processor(kind: str, **values: object) -> object:
    return getattr(transformers, f"{kind}ImageProcessorPil")(**values)


def off(made: object, how: Preprocessing, image: Image.Image) -> float:
    """The largest difference, in steps of 1/255 of the picture."""
    theirs = made(image, return_tensors="pt")["pixel_values"][0]
    ours = evaluation_input(image, how)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) * 255 * min(how.std)


def described(made: object, kind: str) -> dict[str, object]:
    return {**json.loads(made.to_json_string()), "image_processor_type": f"{kind}ImageProcessor"}


@pytest.mark.parametrize("kind", KNOWN)
def test_each_kind_with_its_usual_values(kind):
    made = processor(kind)
    how = preprocessing_in(described(made, kind), where="it")
    assert off(made, how, picture(*SIZE)) < (64 if kind == "PoolFormer" else 0.01)  # see the next test


def test_an_odd_rest_moves_the_crop_by_one_pixel_and_no_more():
    made = processor("PoolFormer")
    how = preprocessing_in(described(made, "PoolFormer"), where="it")
    theirs = made(picture(700, 500), return_tensors="pt")["pixel_values"][0]
    ours = evaluation_input(picture(700, 500), how)
    torch.testing.assert_close(ours[:, :, :-1], theirs[:, :, 1:])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("ViT", {"size": {"height": 48, "width": 32}, "resample": 3}),
        ("ViT", {"size": 40}),
        ("ViT", {"do_rescale": False}),
        ("ViT", {"do_normalize": False}),
        ("ViT", {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}),
        ("ViT", {"resample": 0}),
        ("CLIP", {"size": {"shortest_edge": 64}, "crop_size": 48}),
        ("Beit", {"size": {"height": 64, "width": 32}, "crop_size": {"height": 48, "width": 24}}),
        ("ConvNext", {"size": {"shortest_edge": 64}, "crop_pct": 0.8}),
        ("ConvNext", {"size": {"shortest_edge": 384}}),
        ("Beit", {"size": {"height": 64, "width": 64}, "do_center_crop": True, "crop_size": 48}),
        ("DeiT", {"size": {"height": 64, "width": 64}, "crop_size": {"height": 56, "width": 56}}),
        ("EfficientNet", {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False}),
        ("EfficientNet", {"include_top": True, "size": {"height": 50, "width": 50}}),
        ("Levit", {"resample": 2}),
    ],
)
def test_values_of_a_file(kind, values):
    made = processor(kind, **values)
    how = preprocessing_in(described(made, kind), where="it")
    assert off(made, how, picture(*SIZE)) < 0.02


@pytest.mark.parametrize(
    ("config", "model_type"),
    [
        ({"image_processor_type": "ViTFeatureExtractor"}, None),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 224}, None),
        ({"image_processor_type": "ViTImageProcessorFast"}, "convnext"),
        ({"size": 224}, "vit"),
        ({}, "swin"),
    ],
)
def test_how_a_file_names_its_processor(config, model_type):
    how = preprocessing_in(config, model_type=model_type, where="it")
    assert how == Preprocessing((224, 224), 1.0, "bilinear", (0.5,) * 3, (0.5,) * 3, squash=True)


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"image_processor_type": "DonutImageProcessor"}, "does more than resizing"),
        ({"image_processor_type": "MobileViTImageProcessor"}, "does more than resizing"),
        ({"image_processor_type": "PreTrainedModel"}, "not taken over"),
        ({"image_processor_type": ["ViT"]}, "not taken over"),
        ({}, "unknown"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"wings": 2}}, "not understood"),
        ({"image_processor_type": "ViTImageProcessor", "size": -3}, "not understood"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0, 0, 0]}, "not understood"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "not understood"),
        ({"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}, "not understood"),
        (
            {"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 9, "width": 8}},
            "another shape",
        ),
    ],
)
def test_what_is_not_taken_over_is_said(config, note, caplog):
    assert preprocessing_in(config, where="hf/own/it") is None
    assert note in caplog.text
    assert "hf/own/it" in caplog.text


def test_another_filter_is_noted(caplog):
    how = preprocessing_in({"image_processor_type": "ViTImageProcessor", "resample": 1}, where="it")
    assert how.interpolation == "bicubic"
    assert "bicubic comes nearest" in caplog.text
