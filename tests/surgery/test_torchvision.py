"""Every torchvision builder gets 4 channels and 21 classes, and is as torchvision builds it with 21."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import accelerate
import pytest
import torch
import torchvision
from torch import nn

from surgery.trying import CHANNELS, CLASSES, Tried, try_model
from torchgraft import AdaptError, AnatomyError, adapt, info_of

models = torchvision.models

SMALL = (
    "squeezenet1_1", "googlenet", "shufflenet_v2_x0_5", "quantized_mobilenet_v3_large", "regnet_y_400mf",
    "lraspp_mobilenet_v3_large", "r3d_18", "raft_small", "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)  # fmt: skip

DETECTORS = models.list_models(models.detection)
FLOW = models.list_models(models.optical_flow)
VIDEO = models.list_models(models.video)
SEGMENTATION = models.list_models(models.segmentation)


@pytest.mark.parametrize("name", SMALL)
def test_small_ones(name):
    tried = try_torchvision(name)
    assert tried.passed, f"{tried.stage}: {tried.reason}"


@pytest.mark.slow
@pytest.mark.parametrize("name", models.list_models())
def test_every_builder(name):
    tried = try_torchvision(name)
    assert tried.passed, f"{tried.stage}: {tried.reason}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEGMENTATION if "lraspp" not in name])
def test_segmentation_with_an_auxiliary_head(name):
    model = _build(name, "meta", aux_loss=True).to("meta")
    adapt(model, in_channels=CHANNELS, num_classes=5)
    assert info_of(model).surgery[0]["head"] == ["classifier.4", "aux_classifier.4"]
    output = model(torch.rand(2, CHANNELS, 64, 64, device="meta"))
    assert {key: value.shape for key, value in output.items()} == dict.fromkeys(
        ("out", "aux"), (2, 5, 64, 64)
    )


@pytest.mark.parametrize(
    "name", [name for name in models.list_models() if name.startswith("quantized_shuffle")]
)
def test_packed_whole_numbers_are_refused(name):
    if not torch.backends.quantized.engine or torch.backends.quantized.engine == "none":
        pytest.skip("this PyTorch has no quantised kernels")
    with torch.no_grad(), pytest.warns():
        model = models.get_model(name, weights=None, quantize=True)
    with pytest.raises(AnatomyError, match="is quantised: its weights are packed"):
        adapt(model, num_classes=CLASSES)


def test_optical_flow_has_no_classes():
    with torch.device("meta"):
        model = models.optical_flow.raft_small()
    with pytest.raises(AdaptError, match="with the new sizes the model fails"):
        adapt(model, num_classes=CLASSES)


def try_torchvision(name: str) -> Tried:
    """Detectors run on the CPU, for nothing that chooses boxes runs on meta; all others on meta."""
    device = "cpu" if name in DETECTORS else "meta"
    adapting: dict[str, Any] = {"in_channels": CHANNELS, "num_classes": CLASSES}
    if name in FLOW:
        del adapting["num_classes"]

    def build() -> nn.Module:
        return _build(name, device, **_starting_sizes(name))

    def oracle(model: nn.Module) -> str | None:
        wrong = differs_from_torchvisions_own(name, model, adapting.get("num_classes"))
        return wrong or (detects_wrongly(name, model) if name in DETECTORS else None)

    return try_model(
        build,
        lambda model: _feed(name, device),
        device=device,
        adapting=adapting,
        fits=_FITS.get(name, _losses if name in DETECTORS else _flow if name in FLOW else None),
        oracle=oracle,
    )


def differs_from_torchvisions_own(name: str, model: nn.Module, classes: int | None) -> str | None:
    """Where shapes or plain attributes are not those of torchvision's own builder, but for the channels."""
    own = _build(name, "meta", **({"num_classes": classes} if classes else {})).to("meta")
    stems = info_of(model).surgery[0]["stem"]
    theirs = {key: list(tensor.shape) for key, tensor in own.state_dict().items()}
    for path in stems:
        theirs[f"{path}.weight"][1] = CHANNELS
    for key, tensor in model.state_dict().items():
        if list(tensor.shape) != theirs.pop(key):
            return f"{key} has shape {list(tensor.shape)}"
    if theirs:
        return f"there is no {list(theirs)}"
    for (path, module), other in zip(model.named_modules(), own.modules(), strict=True):
        mine = {key: repr(value) for key, value in vars(module).items() if _is_plain(value)}
        changed = {key for key, value in mine.items() if value != repr(getattr(other, key, None))}
        allowed = (
            {"in_channels"}
            if path in stems
            else {"image_mean", "image_std", "min_size", "max_size", "training"}
        )
        if changed - allowed - {"training"}:
            return f"{path}: {changed - allowed}"
    return None


def detects_wrongly(name: str, model: nn.Module) -> str | None:
    """What is wrong with its detections in evaluation mode, where anything with a score counts as one."""
    for owner in (model, getattr(model, "roi_heads", None)):
        if hasattr(owner, "score_thresh"):
            owner.score_thresh = 0.0
    images, _ = _feed(name, "cpu")
    with torch.no_grad():
        found = model.eval()(list(images))
    shapes = [{key: tuple(value.shape) for key, value in each.items()} for each in found]
    for shape, image, each in zip(shapes, images, found, strict=True):
        count = shape["boxes"][0]
        masks = shape.get("masks", (count, 1, *image.shape[1:]))
        if not count or shape["boxes"][1:] != (4,) or masks != (count, 1, *image.shape[1:]):
            return f"it finds {shapes}"
        if not 0 <= int(each["labels"].min()) <= int(each["labels"].max()) < CLASSES:
            return f"it finds labels {each['labels'].unique().tolist()}"
    return None


def _starting_sizes(name: str) -> dict[str, Any]:
    """Segmentation models begin with 21 classes of their own; detectors are run on small images."""
    if name in SEGMENTATION:
        return {"num_classes": 8}
    if name in DETECTORS and not name.startswith("ssd"):
        return {"min_size": 96, "max_size": 128}
    return {}


def _build(name: str, device: str, **arguments: Any) -> nn.Module:
    builder = models.get_model_builder(name)
    if "weights_backbone" in inspect.signature(builder).parameters:
        arguments["weights_backbone"] = None
    if name.endswith(("googlenet", "inception_v3")):
        arguments["init_weights"] = False
    # RegNet computes its widths with tensors, so that only parameters may be on meta; SSD runs its backbone.
    meta = torch.device("meta") if name in DETECTORS else accelerate.init_empty_weights()
    with meta if device == "meta" else nullcontext():
        return builder(weights=None, **arguments)


def _feed(name: str, device: str) -> Any:
    generator = torch.Generator().manual_seed(1)

    def pixels(*shape: int) -> torch.Tensor:
        if device == "meta":
            return torch.rand(shape, device="meta")
        return torch.rand(shape, generator=generator)

    if name in DETECTORS:
        images = tuple(pixels(CHANNELS, 96, 128) for _ in range(2))
        return images, [_target(name) for _ in images]
    if name in FLOW:
        return pixels(1, CHANNELS, 128, 128), pixels(1, CHANNELS, 128, 128)
    if name in VIDEO:
        return pixels(1, CHANNELS, 16, 224, 224)
    side = 64 if name in SEGMENTATION else 299 if "inception" in name else 224
    return pixels(2, CHANNELS, side, side)


def _target(name: str) -> dict[str, torch.Tensor]:
    masks = torch.zeros(2, 96, 128, dtype=torch.uint8)
    masks[0, 10:60, 20:80] = masks[1, 30:90, 60:120] = 1
    return {
        "boxes": torch.tensor([[20.0, 10.0, 80.0, 60.0], [60.0, 30.0, 120.0, 90.0]]),
        "labels": torch.tensor([1, CLASSES - 1]),
        "masks": masks,
        "keypoints": torch.tensor([[[50.0, 30.0, 1.0]] * 17, [[90.0, 60.0, 1.0]] * 17]),
    }


def _losses(output: Any) -> str | None:
    if len(output) >= 2 and all(loss.ndim == 0 and loss.isfinite() for loss in output.values()):
        return None
    return f"the losses are {output}"


def _flow(output: Any) -> str | None:
    return None if output[-1].shape == (1, 2, 128, 128) else f"the last flow is {output[-1].shape}"


def _auxiliaries(count: int) -> Callable[[Any], str | None]:
    def fits(output: Any) -> str | None:
        shapes = [tuple(tensor.shape) for tensor in output]
        return None if shapes == [(2, CLASSES)] * (1 + count) else f"gives {shapes}"

    return fits


_FITS = {
    "googlenet": _auxiliaries(2),
    "quantized_googlenet": _auxiliaries(2),
    "inception_v3": _auxiliaries(1),
    "quantized_inception_v3": _auxiliaries(1),
}


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float, str)) or value is None
