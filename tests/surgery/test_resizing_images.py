"""Another image size on a live model: the libraries' own ways are the oracles; all or nothing; saved."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision
import transformers
from timm.models.mlp_mixer import MlpMixer, ResBlock
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding as sinusoids

import torchgraft as tg
from torchgraft import AdaptError
from torchgraft.model_info import Preprocessing

pytestmark = [  # timm's own code
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.searchsorted:UserWarning"),
]


def randomised(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def small_vit(**arguments: object) -> nn.Module:
    return randomised(timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=3, **arguments))


def torchvision_vit(side: int) -> nn.Module:
    return randomised(VisionTransformer(side, 16, 1, 2, 24, 24, num_classes=3))


@pytest.mark.parametrize(
    ("build", "size", "exact"),
    [
        (small_vit, (160, 160), True),
        (lambda: small_vit(reg_tokens=2), (128, 192), True),
        (
            lambda: randomised(timm.create_model("deit_tiny_distilled_patch16_224", depth=1)),
            (384, 384),
            True,
        ),
        (
            lambda: randomised(
                timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 2, 1, 1), num_classes=3)
            ),
            (160, 160),
            False,
        ),
        (lambda: randomised(timm.create_model("beit_base_patch16_224", depth=1)), (128, 96), False),
    ],
)
def test_as_timms_own(build, size, exact):
    ours, theirs = build(), build()
    tg.adapt(ours, image_size=size)
    theirs.set_input_size(img_size=size)
    for (name, mine), (_, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        torch.testing.assert_close(mine, other, atol=0 if exact else 1e-6, rtol=0, msg=name)
    image = torch.rand(2, 3, *size)
    torch.testing.assert_close(ours(image), theirs(image), atol=0 if exact else 1e-4, rtol=0)
    assert ours.patch_embed.img_size == size
    assert ours._traits["img_size"] == size


@pytest.mark.parametrize("size", [64, 160])
def test_torchvisions_vit(size):
    model, other = torchvision_vit(96), torchvision_vit(size)
    state = interpolate_embeddings(size, 16, copy.deepcopy(model.state_dict()))
    other.load_state_dict(state)
    tg.adapt(model, image_size=size, modes={"positions": "corners"})
    image = torch.rand(2, 3, size, size)
    assert torch.equal(model(image), other(image))
    assert (model.image_size, model.seq_length) == (size, (size // 16) ** 2 + 1)


SMALL = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.mark.parametrize("size", [64, 160])
def test_transformers_vit(size):
    config = transformers.ViTConfig(**SMALL, image_size=96)
    model = randomised(transformers.ViTForImageClassification(config))
    image = torch.rand(2, 3, size, size)
    expected = model(image, interpolate_pos_encoding=True).logits
    tg.adapt(model, image_size=size, modes={"positions": "interpolate"})
    assert torch.equal(model(image).logits, expected)
    assert model.config.image_size == size
    assert model.vit.embeddings.patch_embeddings.num_patches == (size // 16) ** 2


def test_transformers_clip(tmp_path):
    config = transformers.CLIPVisionConfig(**SMALL, image_size=96, patch_size=16)
    model = randomised(transformers.CLIPVisionModel(config))
    tg.adapt(model, image_size=128)
    assert model(torch.rand(1, 3, 128, 128)).last_hidden_state.shape == (1, 65, 24)
    model.save_pretrained(tmp_path)
    again = transformers.CLIPVisionModel.from_pretrained(tmp_path).eval()
    image = torch.rand(1, 3, 128, 128)
    assert torch.equal(again(image).pooler_output, model(image).pooler_output)


@pytest.mark.parametrize("kind", ["ViTMAE", "DeiT", "Siglip2Vision"])
def test_what_transformers_saves_is_of_that_size(kind, tmp_path):
    if kind == "Siglip2Vision":
        kind = "SiglipVision"
    config = getattr(transformers, f"{kind}Config")(**SMALL, image_size=96, patch_size=16)
    model = randomised(getattr(transformers, f"{kind}Model")(config))
    tg.adapt(model, image_size=64)
    model.save_pretrained(tmp_path)
    again = getattr(transformers, f"{kind}Model").from_pretrained(tmp_path)
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize(
    "build",
    [
        lambda: torchvision.models.resnet18(num_classes=3),
        lambda: torchvision.models.SwinTransformer(
            [4, 4], 24, [1, 1, 1, 1], [1, 2, 3, 6], [5, 5], num_classes=3
        ),
        lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), num_classes=3),
        lambda: torchvision.models.video.r3d_18(num_classes=3),
    ],
)
def test_a_model_of_any_size_only_remembers_it(build):
    with torch.device("meta"):
        model = build()
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    model.torchgraft_info = tg.ModelInfo(preprocessing=Preprocessing(size=(224, 224)))
    tg.adapt(model, image_size=160)
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
    assert tg.info_of(model).preprocessing.size == (160, 160)
    assert tg.info_of(model).surgery == ({"image_size": [160, 160]},)


@pytest.mark.parametrize(
    ("build", "size", "message"),
    [
        (
            lambda: MlpMixer(img_size=64, patch_size=16, num_blocks=1, embed_dim=8, num_classes=3),
            160,
            "a layer is made for the size it has now",
        ),
        (
            lambda: MlpMixer(
                img_size=64, patch_size=16, num_blocks=1, embed_dim=8, mlp_ratio=4, block_layer=ResBlock
            ),
            160,
            "a layer is made for the size it has now",
        ),
        (lambda: torchvision_vit(96), 100, "patches of 16x16 pixels don't fill an image of 100x100"),
        (lambda: torchvision_vit(96), (96, 64), "keeps one number for both sides"),
        (lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), 96, "it takes no image"),
        (small_vit, 0, "must be a side, or height and width"),
        (small_vit, "224", "must be a side, or height and width"),
        (
            lambda: torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights_backbone=None),
            160,
            "brings images to its own size",
        ),
        (lambda: timm.create_model("pit_ti_224"), 160, "no even part"),
    ],
)
def test_refused_and_untouched(build, size, message):
    model = build()
    before = {name: id(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
    attributes = {path: dict(vars(module)) for path, module in model.named_modules()}
    with pytest.raises(AdaptError, match=message):
        tg.adapt(model, image_size=size)
    assert {name: id(tensor) for name, tensor in model.state_dict(keep_vars=True).items()} == before
    for path, module in model.named_modules():
        assert vars(module) == attributes[path]


def test_taken_back_when_what_follows_fails():
    model = small_vit()
    before = model.pos_embed
    with pytest.raises(AdaptError):
        tg.adapt(model, image_size=160, in_channels=5, in_mode=[0, 1])
    assert model.pos_embed is before
    assert model.patch_embed.img_size == (224, 224)
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 3)
    assert tg.info_of(model).surgery == ()


def test_together_with_channels_and_classes():
    model = small_vit()
    tg.adapt(model, image_size=(96, 64), in_channels=4, num_classes=7)
    assert model(torch.rand(1, 4, 96, 64)).shape == (1, 7)
    tg.adapt(model, image_size=128)
    assert model(torch.rand(1, 4, 128, 128)).shape == (1, 7)


def test_modes_and_what_is_trainable_are_kept():
    model = small_vit()
    model.pos_embed.requires_grad_(False)
    old = model.pos_embed.detach().clone()
    tg.adapt(model, image_size=448, modes={"positions": "nearest"})
    assert not model.pos_embed.requires_grad
    rows = model.pos_embed[0, 1:].reshape(28, 28, -1)
    assert torch.equal(rows[::2, ::2], old[0, 1:].reshape(14, 14, -1))
    assert tg.info_of(model).surgery == ({"image_size": [448, 448], "modes": {"positions": "nearest"}},)


def test_sines_are_computed_anew():
    model = transformers.ViTMAEModel(transformers.ViTMAEConfig(**SMALL, image_size=96))
    with torch.no_grad():
        model.embeddings.position_embeddings[0] = sinusoids(6, 6, 24, cls_token=True)
    tg.adapt(model, image_size=(128, 96))
    expected = sinusoids(8, 6, 24, cls_token=True)[None]
    torch.testing.assert_close(model.embeddings.position_embeddings.detach(), expected)


def test_saved_and_loaded(tmp_path):
    model = tg.create_model("timm/vit_tiny_patch16_224", image_size=(96, 64), num_classes=3, depth=1)
    assert tg.info_of(model).preprocessing.size == (96, 64)
    tg.save(model, tmp_path / "model")
    again = tg.load(tmp_path / "model")
    image = torch.rand(1, 3, 96, 64)
    assert torch.equal(again(image), model(image))
    assert tg.info_of(again) == tg.info_of(model)


def test_features_of_a_smooth_image_hardly_depend_on_the_size():
    """The same picture at two sizes: a trained model's resampled positions give about the same features."""
    model = small_vit()
    with torch.no_grad():  # smooth positions, as trained ones are
        coarse = torch.randn(1, 192, 3, 3, generator=torch.Generator().manual_seed(1))
        smooth = nn.functional.interpolate(coarse, size=(14, 14), mode="bicubic")
        model.pos_embed[:, 1:] = smooth.flatten(2).transpose(1, 2)
    small = nn.functional.interpolate(torch.randn(1, 3, 4, 4), size=(224, 224), mode="bicubic")
    large = nn.functional.interpolate(small, size=(448, 448), mode="bicubic")
    before = model(small)
    torch.testing.assert_close(tg.adapt(model, image_size=448)(large), before, atol=0.05, rtol=0.2)
