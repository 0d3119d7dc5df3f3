"""Weights for another image size, patch size, window, length: the libraries' own ways are the oracles."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
import timm
import torch
import transformers
from timm.layers import resample_abs_pos_embed
from timm.models.beit import checkpoint_filter_fn as beit_filter
from timm.models.swin_transformer import checkpoint_filter_fn as swin_filter
from timm.models.vision_transformer import checkpoint_filter_fn as vit_filter
from torch import nn
from torchvision.models import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding as sinusoids

import torchgraft as tg
from torchgraft import CoverageError, Plan

pytestmark = [  # timm's own code
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.searchsorted:UserWarning"),
]


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.1 * torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def vit(**arguments: object) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=3, **arguments)


def swin(**arguments: object) -> nn.Module:
    return timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 2, 1, 1), num_classes=3, **arguments)


def beit(**arguments: object) -> nn.Module:
    return timm.create_model("beit_base_patch16_224", depth=1, num_classes=3, **arguments)


@pytest.mark.parametrize(
    ("build", "arguments", "theirs", "tolerance"),
    [
        (vit, {"img_size": 384}, vit_filter, 0),
        (vit, {"img_size": 128}, vit_filter, 0),
        (vit, {"img_size": (96, 160)}, vit_filter, 0),
        (vit, {"patch_size": 32}, vit_filter, 1e-6),
        (vit, {"patch_size": 8, "img_size": 112}, vit_filter, 1e-5),
        (swin, {"img_size": 384, "window_size": 12}, swin_filter, 1e-6),
        (swin, {"img_size": 128, "window_size": 4}, swin_filter, 1e-6),
        (beit, {"img_size": 384}, beit_filter, 1e-6),
    ],
)
def test_as_timms_checkpoint_filter(build, arguments, theirs, tolerance):
    source = values(build())
    expected, model = build(**arguments), build(**arguments)
    expected.load_state_dict(theirs(dict(source), expected))
    plan = tg.plan(model, source)
    plan.apply()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=tolerance, rtol=0, msg=name)
    adapted = [entry for entry in plan if entry.status == "adapted"]
    assert adapted
    assert {entry.role for entry in adapted} <= {"position", "relative-position", "stem"}
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert [entry.ops for entry in again] == [entry.ops for entry in plan]


def test_torchvisions_vit():
    source = values(VisionTransformer(224, 16, 1, 2, 24, 24, num_classes=3))
    model = VisionTransformer(384, 16, 1, 2, 24, 24, num_classes=3)
    tg.graft(model, source, modes={"positions": "corners"})
    expected = interpolate_embeddings(384, 16, OrderedDict(source))
    assert torch.equal(model.encoder.pos_embedding, expected["encoder.pos_embedding"])


def test_a_transformers_vit():
    small = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 24}
    source = transformers.ViTModel(transformers.ViTConfig(**small, image_size=96)).eval()
    model = transformers.ViTModel(transformers.ViTConfig(**small, image_size=160)).eval()
    tg.graft(model, source, modes={"positions": "interpolate"})
    image = torch.rand(1, 3, 160, 160)
    expected = source(image, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(model(image).last_hidden_state, expected)


@pytest.mark.parametrize(
    ("source", "target", "fresh", "rows", "words"),
    [
        ({}, {"reg_tokens": 4}, "reg_token", [0, None, None, None, None], "positions 1+14x14→5+14x14"),
        ({"reg_tokens": 4}, {}, (), [0], "positions 5+14x14→1+14x14"),
        ({}, {"no_embed_class": True}, (), [], "positions 1+14x14→14x14"),
        ({"no_embed_class": True}, {}, (), [None], "positions 14x14→1+14x14"),
        (
            {},
            {"reg_tokens": 2, "img_size": 96},
            "reg_token",
            [0, None, None],
            "positions 1+14x14→3+6x6, bicubic",
        ),
    ],
)
def test_other_tokens_before_the_patches(source, target, fresh, rows, words):
    given = values(vit(**source))
    model = vit(**target)
    plan = tg.plan(model, given, allow_fresh=fresh)
    (entry,) = [entry for entry in plan if entry.ops]
    assert (entry.name, entry.why) == ("pos_embed", words)
    plan.apply()
    for row, old in enumerate(rows):
        expected = torch.zeros(192) if old is None else given["pos_embed"][0, old]
        assert torch.equal(model.pos_embed[0, row], expected)
    assert model(torch.rand(1, 3, *model.patch_embed.img_size)).shape == (1, 3)


def test_a_distilled_model_and_back():
    def deit() -> nn.Module:
        return timm.create_model("deit_tiny_distilled_patch16_224", depth=1, num_classes=3)

    plan = tg.plan(vit(), values(deit()))
    assert [(entry.name, entry.why) for entry in plan if entry.ops] == [
        ("pos_embed", "positions 2+14x14→1+14x14")
    ]
    assert {entry.name for entry in plan.sources if entry.status == "unused"} >= {"dist_token"}
    plan.apply()
    registers = tg.plan(vit(reg_tokens=1, img_size=96), values(deit()), allow_fresh="reg_token")
    (entry,) = [entry for entry in registers if entry.ops]
    assert entry.ops[0].to_json()["prefix"] == [0, None]  # a register is no distillation token
    back = tg.plan(deit(), values(vit()), allow_fresh=["dist_token", "head_dist"])
    assert not back.undeclared


def test_a_new_register_leaves_the_other_tokens_alone():
    """Attention aside, what enters the first block is the same for class token and patches."""
    source, model = vit().eval(), vit(reg_tokens=4).eval()
    source.load_state_dict(values(source))
    tg.graft(model, source, allow_fresh="reg_token")
    image = torch.rand(1, 3, 224, 224)
    before = source._pos_embed(source.patch_embed(image))
    after = model._pos_embed(model.patch_embed(image))
    assert torch.equal(after[:, 5:], before[:, 1:])
    assert torch.equal(after[:, 0], before[:, 0])
    assert torch.equal(after[:, 1:5], model.reg_token)


@pytest.mark.parametrize(
    ("side", "mode", "rows"),
    [(20, "repeat", [*range(12), *range(8)]), (8, "repeat", range(8))],
)
def test_a_longer_and_a_shorter_text(side, mode, rows):
    def bert(length: int) -> nn.Module:
        return transformers.BertModel(
            transformers.BertConfig(
                num_hidden_layers=1,
                hidden_size=8,
                num_attention_heads=2,
                intermediate_size=8,
                vocab_size=30,
                max_position_embeddings=length,
            )
        ).eval()

    source, model = bert(12), bert(side)
    plan = tg.plan(model, source, modes={"text-positions": mode})
    (entry,) = [entry for entry in plan if entry.ops]
    assert (entry.role, entry.why) == ("position", f"positions 12→{side}, repeat")
    plan.apply()
    old = source.embeddings.position_embeddings.weight
    assert torch.equal(model.embeddings.position_embeddings.weight, old[list(rows)])
    ids = torch.arange(7)[None]
    assert torch.equal(model(ids).last_hidden_state, source(ids).last_hidden_state)


def test_swin_v2_computes_its_own():
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    def build(window: int) -> nn.Module:
        return SwinTransformer(
            [4, 4],
            24,
            [1, 1, 1, 1],
            [1, 2, 3, 6],
            [window, window],
            num_classes=3,
            block=SwinTransformerBlockV2,
            downsample_layer=PatchMergingV2,
        )

    model = build(5)
    before = model.features[1][0].attn.relative_coords_table.clone()
    plan = tg.plan(model, values(build(4)))
    kept = [entry for entry in plan if entry.status == "fresh"]
    assert {entry.name.rpartition(".")[2] for entry in kept} == {
        "relative_coords_table",
        "relative_position_index",
    }
    assert all(entry.declared and "the model computes its own" in entry.why for entry in kept)
    plan.apply()
    assert torch.equal(model.features[1][0].attn.relative_coords_table, before)


def test_torchvisions_swin():
    def build(window: int) -> nn.Module:
        return SwinTransformer([4, 4], 24, [1, 1, 1, 1], [2, 2, 3, 6], [window, window], num_classes=3)

    plan = tg.plan(build(6), values(build(4)))
    adapted = [entry for entry in plan if entry.ops]
    assert {entry.why for entry in adapted} == {"window 4x4→6x6, geometric"}
    assert len(adapted) == 4
    plan.apply()


def test_sines_are_computed_anew():
    source, model = vit(img_size=96), vit(img_size=160)
    with torch.no_grad():
        source.pos_embed[0] = sinusoids(6, 6, 192, cls_token=True)
    plan = tg.plan(model, source)
    (entry,) = [entry for entry in plan if entry.ops]
    assert entry.why == "sin-cos 1+6x6→1+10x10, computed anew"
    plan.apply()
    torch.testing.assert_close(model.pos_embed.detach()[0], sinusoids(10, 10, 192, cls_token=True))


def test_what_can_not_be_told_is_refused_until_said():
    source = values(vit(img_size=(96, 192)))
    model = vit(img_size=(128, 192))
    with pytest.raises(CoverageError, match="73 positions are no square grid") as error:
        tg.graft(model, source)
    assert '"grid": [rows, columns]' in str(error.value)
    assert "allow_fresh='position'" in str(error.value)
    assert tg.graft(vit(img_size=(128, 192)), source, allow_fresh="position").plan.coverage < 1
    for key in ("positions", "pos_embed"):
        plan = tg.plan(model, source, modes={key: {"grid": [6, 12], "mode": "bilinear"}})
        assert [entry.why for entry in plan if entry.ops] == ["positions 1+6x12→1+8x12, bilinear"]
    wrong = tg.plan(model, source, modes={"positions": {"grid": [6, 10]}})
    assert "a grid of 6x10 leaves 13 of 73 positions for other tokens" in wrong.undeclared[0].why


def test_as_many_positions_on_another_grid():
    source, model = values(vit(img_size=(64, 144))), vit(img_size=96)
    assert not [entry for entry in tg.plan(model, source) if entry.ops]  # of the same shape: taken as it is
    plan = tg.plan(model, source, modes={"positions": {"grid": [4, 9]}})
    assert [entry.why for entry in plan if entry.ops] == ["positions 1+4x9→1+6x6, bicubic"]
    theirs = resample_abs_pos_embed(source["pos_embed"], [6, 6], [4, 9])
    plan.apply()
    assert torch.equal(model.pos_embed, theirs)


class Unrunnable(nn.Module):
    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 4, 4, stride=4)
        self.where = nn.Parameter(torch.randn(1, tokens, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, image: torch.Tensor, mask: object, *, key: object) -> torch.Tensor:
        raise NotImplementedError


def test_a_model_that_can_not_be_run():
    source, model = Unrunnable(17), Unrunnable(26)
    plan = tg.plan(model, source)
    assert "if it holds positions of patches, say of which grids" in plan.undeclared[0].why
    plan = tg.plan(model, source, modes={"where": {"grid": [4, 4], "to": [5, 5]}})
    assert [entry.why for entry in plan if entry.ops] == ["positions 1+4x4→1+5x5, bicubic"]
    plan.apply()


def test_a_plan_can_be_edited():
    plan = tg.plan(vit(img_size=384), values(vit()))
    assert plan.set("pos_embed", mode="nearest").targets[0].name
    (entry,) = [entry for entry in plan.set("pos_embed", mode="nearest") if entry.ops]
    assert entry.why == "positions 1+14x14→1+24x24, nearest"
    with pytest.raises(tg.AdaptError, match="no such mode"):
        plan.set("pos_embed", mode="cubic")


def test_fine_tuned_weights_go_back():
    source = values(vit())
    model = vit(img_size=384)
    plan = tg.plan(model, source)
    plan.apply()
    restored = plan.restore(model)
    torch.testing.assert_close(restored.tensors["pos_embed"], source["pos_embed"], atol=2e-5, rtol=0)


def test_a_model_takes_the_size_of_its_weights(tmp_path):
    torch.save(values(vit(img_size=96)), tmp_path / "vit.pth")
    name = "timm/vit_tiny_patch16_224"
    model = tg.create_model(name, weights=tmp_path / "vit.pth", depth=1, num_classes=3)
    assert model.patch_embed.img_size == (96, 96)
    assert tg.info_of(model).preprocessing.size == (96, 96)
    larger = tg.create_model(name, weights=tmp_path / "vit.pth", depth=1, num_classes=3, image_size=160)
    assert larger.pos_embed.shape == (1, 101, 192)
    said = tg.create_model(name, weights=tmp_path / "vit.pth", depth=1, num_classes=3, img_size=224)
    assert said.pos_embed.shape == (1, 197, 192)
    tg.save(larger, tmp_path / "larger")
    assert tg.load(tmp_path / "larger").pos_embed.shape == (1, 101, 192)
