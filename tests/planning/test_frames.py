"""Weights of images into networks for videos and back: the same answers on still videos."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg


def net(dims: int, frames: int = 3) -> nn.Sequential:
    """Without padding in time, so that no frame of a still video is at an end."""
    torch.manual_seed(0)
    conv, norm, pool = {
        2: (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d),
        3: (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
    }[dims]

    def kernel(side: int) -> int | tuple[int, ...]:
        return side if dims == 2 else (frames, side, side)

    return nn.Sequential(
        conv(3, 4, kernel(3), bias=False), norm(4), nn.ReLU(), conv(4, 6, kernel(3)), norm(6), nn.ReLU(),
        conv(6, 5, kernel(1)), pool(1), nn.Flatten(), nn.Linear(5, 2),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("mode", ["mean", "centre"])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_still_video_gives_what_the_image_gives(mode, frames):
    model, source = net(3, frames), net(2)
    example = torch.rand(1, 3, 9, 9, 9)
    plan = tg.plan(model, source, modes={"inflate": mode}, example=example)
    assert plan.counts["fresh"] == 0
    plan.apply()
    image = torch.rand(2, 3, 9, 9)
    with torch.no_grad():
        still = model(image[:, :, None].repeat(1, 1, 9, 1, 1))
        torch.testing.assert_close(still, source(image), rtol=1e-5, atol=1e-6)
    restored = plan.restore(model)
    for name, tensor in source.state_dict().items():
        torch.testing.assert_close(restored[name], tensor)


def test_a_video_networks_weights_for_images():
    model, source = net(2), net(3)
    tg.graft(model, source)
    image = torch.rand(2, 3, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(model(image), source(image[:, :, None].repeat(1, 1, 9, 1, 1)))


def test_names_that_differ_are_paired_by_structure_as_between_images():
    source = nn.ModuleDict({"stem": net(2)[0], "one": net(2)[3], "two": net(2)[6], "out": net(2)[9]})
    model = nn.Sequential(net(3)[0], net(3)[3], net(3)[6], net(3)[9])
    plan = tg.plan(model, dict(source.state_dict()))
    assert plan.counts["fresh"] == 0
    assert any("kernels are inflated" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("source", "model", "mode"), [(2, 3, "mean"), (2, 3, "centre"), (3, 2, "sum"), (3, 2, "centre")]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_as_a_script(source, model, mode, dtype):
    old, new = net(source).to(dtype), net(model).to(dtype)
    plan = tg.plan(new, old, modes={"inflate" if model == 3 else "deflate": mode})
    plan.apply()
    script: dict[str, object] = {}
    exec(plan.python(), script)
    made = script["convert"](old.state_dict())
    for name, tensor in new.state_dict().items():
        torch.testing.assert_close(made[name], tensor, rtol=0, atol=0)


def test_resnet18_into_r3d_18():
    torchvision = pytest.importorskip("torchvision")
    source = torchvision.models.resnet18()
    with torch.device("meta"):
        model = torchvision.models.video.r3d_18()
    plan = tg.plan(model, source)
    assert plan.counts == {"loaded": 100, "adapted": 20, "fresh": 2, "used": 120, "unused": 2}
    assert not plan.undeclared
    back = tg.plan(torchvision.models.resnet18(), torchvision.models.video.r3d_18())
    assert back.counts == plan.counts


@pytest.mark.parametrize("mode", ["mean", "centre"])
def test_an_optimizers_state_follows(mode):
    model, source = net(3), net(2).train()
    old = torch.optim.Adam(source.parameters())
    source(torch.rand(2, 3, 9, 9)).square().sum().backward()
    old.step()
    new = torch.optim.Adam(model.parameters())
    plan = tg.plan(model, source, modes={"inflate": mode})
    state = plan.optimizer_state(new, old.state_dict())
    assert state.fresh == {}
    kept, made = old.state_dict()["state"][0], state.state_dict["state"][0]
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(made[name][:, :, 1], kept[name])
        others = kept[name] if mode == "mean" else kept[name].mean() * (name == "exp_avg_sq")
        torch.testing.assert_close(made[name][:, :, 0], others.expand_as(kept[name]))
