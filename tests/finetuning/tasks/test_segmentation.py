"""A class for each pixel. Oracles: PyTorch's cross-entropy, scikit-learn, the image itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics
from torch import nn
from torch.nn import functional

import torchgraft as tg
from torchgraft.errors import DataError, TrainingError
from torchgraft.finetuning import SegmentationEvaluation, evaluate, finetune, predict
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.finetuning.inputs.batches import Inputs
from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.finetuning.inputs.mask_tensor import evaluation_mask
from torchgraft.finetuning.tasks.segmentation import Segmentation
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

SMALL = Preprocessing(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


class TinyMaps(nn.Module):
    """A convolution, and a classifier of pixels at half the size; torchvision's kind of output."""

    def __init__(self, classes: int = 2, *, auxiliary: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.classifier = nn.Conv2d(8, classes, 1)
        self.aux_classifier = nn.Conv2d(8, classes, 1) if auxiliary else None

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = torch.relu(self.stem(x))
        found = {"out": self.classifier(features)}
        if self.aux_classifier is not None:
            found["aux"] = self.aux_classifier(features)
        return {
            key: functional.interpolate(value, x.shape[-2:], mode="bilinear") for key, value in found.items()
        }


def tiny_maps(
    classes: int = 2, *, auxiliary: bool = False, labels: tuple[str, ...] | None = None
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TinyMaps(classes, auxiliary=auxiliary).eval()
    attach_info(model, ModelInfo(labels=labels, preprocessing=SMALL))
    return model


def scene(index: int, size: tuple[int, int] = (20, 24)) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright rectangle, and the mask of that; a border of the mask is of no class."""
    rng = np.random.default_rng(index)
    photo = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, dtype=np.uint8)
    top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
    photo[top : top + 9, left : left + 9] += 180
    mask[top : top + 9, left : left + 9] = 1
    mask[0] = 255
    return photo, mask


@pytest.fixture
def scenes() -> tuple[list[np.ndarray], list[np.ndarray]]:
    photos, masks = zip(*(scene(index) for index in range(24)), strict=True)
    return list(photos), list(masks)


def random_batch(seed: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, classes, 5, 7, generator=generator)
    targets = torch.randint(0, classes, (3, 5, 7), generator=generator)
    targets[torch.rand(3, 5, 7, generator=generator) < 0.2] = 255
    return scores, targets


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 6))
def test_measures_against_scikit_learn(seed, classes):
    scores, targets = random_batch(seed, classes)
    images = Images(
        [object()] * 3, (None,) * 3, tuple(map(str, range(classes))), tuple("abc"), "segmentation"
    )
    task = Segmentation()
    outcomes = torch.cat([task.outcome(scores[i : i + 1, None], targets[i : i + 1]) for i in range(3)])
    assert torch.equal(outcomes, task.outcome(scores[:, None], targets))
    found = task.measure(outcomes, images, images.classes)
    known = targets != 255
    truth, guess = targets[known].numpy(), scores.argmax(1)[known].numpy()
    table = metrics.confusion_matrix(truth, guess, labels=range(classes))
    hits, either = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    assert found.pixel_accuracy == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found.mean_iou == pytest.approx((hits[either > 0] / either[either > 0]).mean())
    assert found.mean_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, guess))
    assert found.loss == pytest.approx(
        float(functional.cross_entropy(scores, targets, ignore_index=255)), rel=1e-5
    )
    for index, score in enumerate(found.per_class):
        assert score.pixels == table[index].sum()
        assert score.iou == (pytest.approx(hits[index] / either[index]) if either[index] else None)
        said = table[:, index].sum()
        assert score.precision == (pytest.approx(hits[index] / said) if said else None)
    losses = [
        float(functional.cross_entropy(scores[i : i + 1], targets[i : i + 1], ignore_index=255))
        for i in range(3)
    ]
    assert [one.index for one in found.mistakes] == sorted(range(3), key=lambda i: -losses[i])


class TestTheLoss:
    def test_of_maps_and_auxiliary_maps(self):
        scores, targets = random_batch(0, 3)
        other = torch.randn_like(scores)
        expected = functional.cross_entropy(scores, targets, ignore_index=255)
        task = Segmentation()
        assert torch.allclose(task.loss(task.outputs(scores), targets), expected)
        both = expected + 0.4 * functional.cross_entropy(other, targets, ignore_index=255)
        assert torch.allclose(task.loss(task.outputs({"out": scores, "aux": other}), targets), both)

    def test_of_small_maps(self):
        scores = torch.randn(2, 3, 4, 4)
        targets = torch.randint(0, 3, (2, 16, 16))
        larger = functional.interpolate(scores, (16, 16), mode="bilinear", align_corners=False)
        expected = functional.cross_entropy(larger, targets)
        assert torch.allclose(Segmentation().loss(scores[:, None], targets), expected)

    def test_where_no_pixel_has_a_class(self):
        scores = torch.randn(1, 3, 4, 4, requires_grad=True)
        loss = Segmentation().loss(scores[:, None], torch.full((1, 4, 4), 255))
        loss.backward()
        assert loss.detach() == 0
        assert scores.grad is not None
        assert not scores.grad.any()

    def test_with_a_weight_for_each_class_and_smoothing(self):
        scores, targets = random_batch(1, 3)
        how = {"weight": torch.tensor([1.0, 2.0, 3.0]), "label_smoothing": 0.1}
        expected = functional.cross_entropy(scores, targets, ignore_index=255, **how)
        assert torch.allclose(Segmentation().loss(scores[:, None], targets, **how), expected)


class TestTheMaskGoesWithTheImage:
    """The image is its own mask: what the geometry does to one, it must do to the other."""

    @pytest.mark.parametrize("size", [(16, 16), (20, 12)])
    @pytest.mark.parametrize("crop", [1.0, 0.8])
    @pytest.mark.parametrize("squash", [False, True])
    @pytest.mark.parametrize("shape", [(20, 24), (40, 17), (33, 33), (8, 9)])
    def test_to_evaluate(self, size, crop, squash, shape):
        how = Preprocessing(size, crop, "nearest", (0.0,), (1.0,), squash=squash)
        numbers = torch.from_numpy(np.random.default_rng(0).integers(0, 200, shape))
        mask = evaluation_mask(numbers, how)
        image = evaluation_input(Image.fromarray(numbers.numpy().astype(np.uint8)), how)
        inside = mask != 255
        assert mask.shape == size
        assert torch.equal((image[0] * 255).round().long()[inside], mask[inside])

    def test_padding_is_of_no_class(self):
        how = replace(SMALL, size=(16, 30))
        mask = evaluation_mask(torch.zeros(16, 16, dtype=torch.int64), replace(how, crop=1.0))
        assert set(mask.unique().tolist()) <= {0, 255}

    def test_to_train(self):
        """On a slope, a mask that is half a pixel off is so on average."""
        how = Preprocessing((16, 16), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
        numbers = (2 * np.arange(60)[None, :] + np.arange(80)[:, None]).astype(np.uint8)
        images = Images(
            [np.repeat(numbers[..., None], 3, 2)], (numbers,), ("a",) * 200, ("x",), "segmentation"
        )
        inputs = Inputs(
            images, how, Augmentation(how, scale=(0.3, 0.9), seed=0), target=Segmentation().target
        )
        seen = set()
        for epoch in range(12):
            inputs.epoch = epoch
            image, mask, _ = inputs[0]
            off = image[1] * 255 - mask
            assert off.abs().max() <= 3
            assert abs(float(off.mean())) < 0.3
            assert mask.dtype == torch.int64
            seen.add(mask.numpy().tobytes())
        assert len(seen) == 12

    def test_sizes_that_differ_are_named(self):
        images = Images(
            [np.zeros((8, 8, 3), np.uint8)],
            (np.zeros((9, 8), np.uint8),),
            ("a", "b"),
            ("x.png",),
            "segmentation",
        )
        with pytest.raises(DataError, match=r"x.png: the image has 8 x 8 pixels .*, its mask 9 x 8"):
            Inputs(images, SMALL, target=Segmentation().target)[0]


@pytest.mark.parametrize(("recipe", "auxiliary"), [("linear-probe", False), ("full", False), ("full", True)])
def test_learning_saving_measuring_and_predicting(scenes, tmp_path, recipe, auxiliary):
    model = tiny_maps(7, auxiliary=auxiliary)
    data = tg.ImageData(scenes, classes=("ground", "block"))
    result = finetune(model, data, recipe=recipe, epochs=25, lr=3e-2, out=tmp_path / "run")
    scores = result.evaluation
    assert isinstance(scores, SegmentationEvaluation)
    assert result.classes == ("ground", "block")
    assert model.classifier.out_channels == 2
    if auxiliary:
        assert model.aux_classifier.out_channels == 2
    assert scores.mean_iou > 0.7
    assert result.history[result.best_epoch - 1].val["mean_iou"] == scores.mean_iou
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["task"] == "segmentation"
    again = evaluate(model, data)
    assert again.mean_iou > 0.7
    (answer,) = predict(model, scenes[0][0])
    assert answer.mask.shape == scenes[0][0].shape[:2]
    known = scenes[1][0] != 255
    assert (answer.mask == scenes[1][0])[known].mean() > 0.85
    assert sum(answer.shares.values()) == pytest.approx(1)


def test_transformers_models_give_small_maps(scenes):
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[3, 3],
        strides=[2, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SegformerForSemanticSegmentation(config)
    tg.describe(model, preprocessing=replace(SMALL, size=(32, 32)))
    result = finetune(model, (scenes[0], scenes[1]), recipe="full", epochs=1, max_steps=2)
    assert isinstance(result.evaluation, SegmentationEvaluation)
    assert result.classes == ("0", "1")
    (answer,) = predict(model, scenes[0][0])
    assert answer.mask.shape == (20, 24)


def test_a_step_in_which_no_pixel_has_a_class_changes_nothing(scenes):
    """Also where it is made of several batches, whose shares are of the pixels that count."""
    photos, masks = scenes
    blank = [np.full_like(mask, 255) for mask in masks[:6]]
    data = tg.ImageData((photos[:6], blank), classes=("ground", "block"))
    model = tiny_maps(2, labels=("ground", "block"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held_out = tg.ImageData((photos[6:], masks[6:]), classes=("ground", "block"))
    finetune(model, data, val=held_out, recipe="full", epochs=1, batch_size=2, accumulate=2, weight_decay=0.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_torchvisions_models_with_their_auxiliary_classifier(scenes):
    models = pytest.importorskip("torchvision.models.segmentation")
    model = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    tg.describe(model, preprocessing=replace(SMALL, size=(32, 32)))
    result = finetune(model, (scenes[0], scenes[1]), recipe="full", epochs=1, max_steps=1, batch_size=4)
    assert result.evaluation.classes == ("0", "1")


def test_masks_and_classes_are_brought_together_by_name(scenes):
    model = tiny_maps(3, labels=("sky", "block", "ground"))
    data = tg.ImageData(scenes, classes=("ground", "block"))
    found = evaluate(model, data)
    assert found.classes == ("sky", "block", "ground")
    pixels = {score.name: score.pixels for score in found.per_class}
    assert pixels["sky"] == 0
    assert pixels["block"] > 0 < pixels["ground"]
    with pytest.raises(DataError, match="'water'"):
        evaluate(model, tg.ImageData(scenes, classes=("ground", "water")))


def test_a_classifier_is_refused_before_it_is_changed(tiny, scenes):
    model = tiny(classes=5)
    with pytest.raises(TrainingError, match="not class scores of each pixel"):
        finetune(model, scenes)
    assert model.head.out_features == 5


def test_a_number_of_no_class_is_named(scenes):
    images = Images([scenes[0][0]], (np.full((20, 24), 7, np.uint8),), ("a", "b"), ("x",), "segmentation")
    with pytest.raises(DataError, match="x: its mask has the number 7, but there are 2 classes"):
        images.mask(0)
