"""The oracle is peft's own forward pass with its adapters in place."""

import pytest
import timm
import torch
from torch import nn

from torchgraft.finetuning.fitting.adapters import adaptable, adapter_parameters, inject, merge, merged


def build(name: str) -> tuple[nn.Module, torch.Tensor, list[str]]:
    torch.manual_seed(0)
    options = {"img_size": 32, "depth": 2, "embed_dim": 24} if name.startswith("vit") else {}
    model = timm.create_model(name, num_classes=3, **options).eval()
    with torch.no_grad():  # blocks that begin as the identity would hide what is in them
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    paths = [path for path in adaptable(model) if path.startswith(("blocks.", "layer1.", "stages.0."))]
    return model, torch.randn(2, 3, 32, 32), paths


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "convnext_atto"])
def test_merged_equals_the_adapters_in_place(name):
    model, images, paths = build(name)
    keys, before = list(model.state_dict()), model(images)
    inject(model, paths, rank=4, alpha=8.0, dropout=0.0)
    assert torch.equal(model(images), before), "B is zero at first"
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert len(adapter_parameters(model)) == 2 * len(paths)
    for parameter in adapter_parameters(model):
        nn.init.normal_(parameter, std=0.1)
    adapted, state = model(images), {k: v.clone() for k, v in model.state_dict().items()}
    assert not torch.allclose(adapted, before, atol=1e-3)

    with merged(model):
        assert list(model.state_dict()) == keys
        torch.testing.assert_close(model(images), adapted, rtol=1e-4, atol=1e-4)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert torch.equal(model(images), adapted)

    merge(model)
    assert list(model.state_dict()) == keys
    assert not any("lora" in type(module).__module__ for module in model.modules())
    torch.testing.assert_close(model(images), adapted, rtol=1e-4, atol=1e-4)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.plain, self.other = nn.Linear(8, 8), nn.ModuleDict({"plain": nn.Linear(8, 8)})
        self.dense, self.depthwise = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))


def test_which_layers_can_have_one():
    assert adaptable(Mixed()) == ["plain", "other.plain", "dense"]


def test_a_path_means_that_layer_and_none_that_ends_alike():
    model = Mixed()
    inject(model, ["plain"], rank=2, alpha=2.0, dropout=0.0)
    held = {name for name, _ in model.named_parameters() if "lora" in name}
    assert held == {"plain.lora_A.default.weight", "plain.lora_B.default.weight"}
