"""Where models keep positions, told by a run; the sizes they were built with are the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn

from torchgraft.adapting.places import Grid, Line, Window
from torchgraft.anatomy.positions import position_tables

TIMM: list[tuple[str, dict[str, Any], str, Grid, tuple[str, ...]]] = [
    ("vit_tiny_patch16_224", {}, "pos_embed", Grid(14, 14, 1), ("class",)),
    ("vit_tiny_patch16_224", {"img_size": (96, 160)}, "pos_embed", Grid(6, 10, 1), ("class",)),
    (
        "vit_tiny_patch16_224",
        {"img_size": 64, "reg_tokens": 2},
        "pos_embed",
        Grid(4, 4, 3),
        ("class", "register", "register"),
    ),
    ("vit_tiny_patch16_224", {"no_embed_class": True}, "pos_embed", Grid(14, 14), ()),
    ("deit_tiny_distilled_patch16_224", {}, "pos_embed", Grid(14, 14, 2), ("class", "distillation")),
    ("samvit_base_patch16", {"img_size": 96, "depth": 1}, "pos_embed", Grid(6, 6), ()),
    ("pit_ti_224", {}, "pos_embed", Grid(27, 27), ()),
]


@pytest.mark.parametrize(("name", "arguments", "key", "grid", "kinds"), TIMM)
def test_timms(name, arguments, key, grid, kinds):
    with torch.device("meta"):
        model = timm.create_model(name, **{"depth": 1, **arguments} if "pit" not in name else arguments)
    (table,) = position_tables(model).values()
    assert (table.name, table.place, table.kinds) == (key, grid, kinds)


WINDOWS = [
    (lambda: timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1)), Window(7, 7), 4),
    (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), img_size=(128, 256), window_size=(4, 8)
        ),
        Window(4, 8),
        4,
    ),
    (lambda: timm.create_model("beit_base_patch16_224", depth=1), Window(14, 14, 3), 1),
    (
        lambda: torchvision.models.SwinTransformer([4, 4], 24, [1, 1, 1, 1], [1, 2, 3, 6], [5, 5]),
        Window(5, 5),
        4,
    ),
    (lambda: timm.create_model("swinv2_tiny_window8_256", depths=(1, 1, 1, 1)), None, 0),
]


@pytest.mark.parametrize(("build", "window", "count"), WINDOWS)
def test_windows(build, window, count):
    with torch.device("meta"):
        tables = position_tables(build())
    assert [table.place for table in tables.values()] == [window] * count


SMALL = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.mark.parametrize(
    ("kind", "arguments", "place"),
    [
        ("ViT", {"image_size": 96}, Grid(6, 6, 1)),
        ("DeiT", {"image_size": 96}, Grid(6, 6, 2)),
        ("ViTMAE", {"image_size": 96}, Grid(6, 6, 1)),
        ("Yolos", {"image_size": [64, 96], "num_detection_tokens": 5}, Grid(4, 6, 1, 5)),
        ("CLIPVision", {"image_size": 96, "patch_size": 16}, Grid(6, 6, 1)),
        ("CLIPText", {"max_position_embeddings": 33, "vocab_size": 50}, Line(33)),
        ("Bert", {"max_position_embeddings": 33, "vocab_size": 50}, Line(33)),
        ("Roberta", {"max_position_embeddings": 35, "vocab_size": 50, "pad_token_id": 1}, Line(33, 2)),
        ("AST", {}, Grid(12, 101, 2)),
    ],
)
def test_transformers(kind, arguments, place):
    config = getattr(transformers, f"{kind}Config")(**SMALL, **arguments)
    model = getattr(transformers, f"{kind}Model")(config)
    (table,) = position_tables(model).values()
    assert table.place == place
    assert "position" in table.name


class Plain(nn.Module):
    """Names that say nothing, a scale and a bias of the table's shape, a token."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 4, stride=4)
        self.b = nn.Parameter(torch.zeros(1, 3 * 5 + 1, 8))
        self.c = nn.Parameter(torch.ones(1, 3 * 5 + 1, 8))
        self.d = nn.Parameter(torch.zeros(1, 1, 8))
        self.e = nn.Linear(8, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.a(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.d.expand(len(x), -1, -1), x], dim=1)
        return self.e(((x * self.c) + self.b).mean(1))


def test_names_do_not_matter():
    model = Plain()
    tables = position_tables(model, torch.rand(2, 3, 12, 20))
    assert [(table.name, table.place, table.image) for table in tables.values()] == [
        ("b", Grid(3, 5, 1), (12, 20))
    ]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_none():
    assert position_tables(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))) == {}
    assert position_tables(torchvision.models.resnet18()) == {}
