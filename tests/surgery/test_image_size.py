"""An architecture of each of timm's files at half again its image size: as timm makes it, or refused."""

from __future__ import annotations

import pytest
import timm
import torch

import torchgraft as tg
from torchgraft import AdaptError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SMALL = ("atto", "femto", "pico", "nano", "xxs", "tiny", "small")
RESIZES_AS_IT_RUNS = {"mvitv2", "vision_transformer_sam"}
"""Their biases are interpolated at every run, so that they need not change."""


def architecture(module: str) -> str:
    """One that is small by its name, else the first that is not called large."""
    names = timm.list_models(module=module)
    small = [name for word in SMALL for name in names if word in name]
    rest = [name for name in names if not any(word in name for word in ("large", "huge", "giant", "xl"))]
    return (small or rest or names)[0]


def shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("module", timm.list_modules())
def test_as_timm_makes_it(module):
    if not timm.list_models(module=module):
        pytest.skip("it has no models of its own")
    name = architecture(module)
    try:
        with torch.device("meta"):
            model = timm.create_model(name)
    except Exception:
        pytest.skip("can't be built on the meta device")
    side = model.default_cfg["input_size"][-1] * 3 // 2
    before = shapes(model)
    try:
        tg.adapt(model, image_size=side)
    except AdaptError:
        assert shapes(model) == before
        return
    try:
        with torch.device("meta"):
            if hasattr(model, "set_input_size"):  # it scales windows, too
                built = timm.create_model(name)
                built.set_input_size(img_size=(side, side))
            else:
                built = timm.create_model(name, img_size=side)
    except TypeError:
        assert shapes(model) == before  # it takes any size
        return
    if module not in RESIZES_AS_IT_RUNS:
        assert shapes(model) == shapes(built)
