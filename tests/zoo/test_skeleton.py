"""Building without values gives what building for real and `load_state_dict` give, initialising nothing."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from torchgraft import create_model
from torchgraft.zoo.skeleton import has_unsaved_tensors, skeleton

SWIN = {
    "img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 2), "num_heads": (1, 2),
    "num_classes": 5,
}  # fmt: skip
TABLE = [
    ("torchvision/resnet18", {}, (3, 64, 64)),
    ("torchvision/googlenet", {}, (3, 64, 64)),
    ("torchvision/googlenet", {"aux_logits": False}, (3, 64, 64)),
    ("torchvision/inception_v3", {}, (3, 96, 96)),
    ("torchvision/swin_t", {}, (3, 64, 64)),
    ("torchvision/swin_v2_t", {}, (3, 64, 64)),
    ("torchvision/mobilenet_v3_small", {}, (3, 64, 64)),
    ("timm/resnet10t", {"in_chans": 2, "num_classes": 3}, (2, 64, 64)),
    ("timm/swin_tiny_patch4_window7_224", SWIN, (3, 64, 64)),
    ("timm/test_vit", {}, (3, 160, 160)),
    ("timm/eva02_tiny_patch14_224", {"depth": 1}, (3, 224, 224)),
    ("timm/levit_128s", {}, (3, 224, 224)),
]


def build(name: str, arguments: dict[str, object], seed: int) -> nn.Module:
    """By the library itself."""
    torch.manual_seed(seed)
    library, _, model = name.partition("/")
    if library == "timm":
        return timm.create_model(model, **arguments).eval()
    slow = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(model, **slow, **arguments).eval()


@pytest.mark.parametrize(("name", "arguments", "shape"), TABLE, ids=[f"{n}-{len(a)}" for n, a, _ in TABLE])
def test_as_built_for_real(name, arguments, shape, tmp_path, differing):
    trained = build(name, arguments, seed=1)
    torch.save(trained.state_dict(), tmp_path / "x.pth")
    expected = build(name, arguments, seed=2)
    expected.load_state_dict(trained.state_dict())
    torch.manual_seed(3)
    model = create_model(name, weights=tmp_path / "x.pth", **arguments)
    assert differing(model, expected) == []
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in expected.parameters()]
    x = torch.rand(1, *shape)
    with torch.no_grad():
        assert torch.equal(model(x), expected(x))


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("torchvision/resnet18", False),
        ("torchvision/squeezenet1_1", False),
        ("timm/resnet10t", False),
        ("torchvision/swin_v2_t", False),
        ("own_net:Net", True),  # its table is not saved, so it has to be built for real
    ],
)
def test_random_numbers_are_drawn_only_where_they_have_to_be(name, drawn, tmp_path):
    torch.save(create_model(name).state_dict(), tmp_path / "x.pth")
    before = torch.get_rng_state()
    create_model(name, weights=tmp_path / "x.pth")
    assert torch.equal(torch.get_rng_state(), before) != drawn


class Holder(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        value = torch.ones(2)
        if kind in ("buffer", "saved buffer"):
            self.register_buffer("held", value, persistent=kind == "saved buffer")
        else:
            self.held = {"attribute": value, "list": [value], "dict": {"deep": (value,)}, "none": None}[kind]


@pytest.mark.parametrize(
    ("kind", "unsaved"),
    [("buffer", True), ("saved buffer", False), ("attribute", True), ("list", True), ("dict", True),
     ("none", False)],
)  # fmt: skip
def test_tensors_that_a_state_dict_leaves_out(kind, unsaved):
    assert has_unsaved_tensors(Holder(kind)) == unsaved


def read_a_value() -> nn.Module:
    return nn.Linear(2, int(torch.tensor(3).item()))


def half_elsewhere() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="cpu"))


@pytest.mark.parametrize("refuses", [read_a_value, half_elsewhere])
def test_what_cant_be_built_without_values(refuses):
    assert skeleton(refuses) is None


def test_a_skeleton_holds_nothing():
    model = skeleton(lambda: nn.Linear(10**8, 10**8))  # 40 PB, if it held anything
    assert model is not None
    assert all(parameter.is_meta for parameter in model.parameters())


def test_tensors_with_values_are_filled():
    """A constructor may compute with numbers on the way, where it says that it wants real ones."""
    width = 0

    def build() -> nn.Module:
        nonlocal width
        width = int(torch.zeros(3, device="cpu").fill_(2).mul_(torch.ones(3, device="cpu")).sum())
        return nn.Linear(width, width)

    model = skeleton(build)
    assert model is not None
    assert width == model.in_features == 6
