"""Wider and deeper models that compute what the smaller one did: in double precision, to rounding."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

import torchgraft as tg


def as_trained(model):
    """Norms and statistics as training leaves them, so that no two features are alike."""
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if type(module).__name__.startswith(("BatchNorm", "LayerNorm", "LlamaRMSNorm")):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            if getattr(module, "bias", None) is not None:
                nn.init.normal_(module.bias)
    return model.eval().double()


def mlp(width):
    return nn.Sequential(
        nn.Linear(5, width),
        nn.ReLU(),
        nn.Linear(width, 2 * width),
        nn.PReLU(2 * width),
        nn.Linear(2 * width, 3),
    )


def cnn(width):
    """A chain with batch norms, a depthwise convolution, and a flattened map."""
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, groups=width), nn.BatchNorm2d(width), nn.ReLU6()),
        *(nn.Conv2d(width, 2 * width, 3, bias=False), nn.BatchNorm2d(2 * width), nn.SiLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(18 * width, 10), nn.Tanh(), nn.Linear(10, 4)),
    )


def autoencoder(width):
    return nn.Sequential(
        nn.Conv2d(3, width, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(width, 3, 2, stride=2), nn.Sigmoid()
    )


class Gated(nn.Module):
    """A gate whose halves come from one layer, as GLU's do, and a squeeze-and-excitation."""

    def __init__(self, width):
        super().__init__()
        self.both = nn.Linear(5, 2 * width)
        self.squeeze, self.excite = nn.Linear(width, width // 2), nn.Linear(width // 2, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        left, right = self.both(x).chunk(2, dim=-1)
        x = left * right.sigmoid()
        return self.head(x * self.excite(self.squeeze(x).relu()).sigmoid())


def vit(depth=2, ratio=2.0, scale=None, dim=12, heads=2):
    return timm.create_model(
        "vit_tiny_patch16_224",
        depth=depth,
        embed_dim=dim,
        num_heads=heads,
        mlp_ratio=ratio,
        init_values=scale,
        img_size=32,
        num_classes=5,
    )


def convnext(*dims, depths=(1, 1, 2, 1)):
    return timm.create_model("convnext_atto", dims=dims, depths=depths, num_classes=5)


def llama(blocks, hidden):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 30}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=blocks, intermediate_size=hidden, **sizes))


def gpt2(blocks, hidden):
    sizes = {"n_embd": 8, "n_head": 2, "vocab_size": 30, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(n_layer=blocks, n_inner=hidden, **sizes))


def bert(blocks, hidden):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 30}
    return BertModel(BertConfig(num_hidden_layers=blocks, intermediate_size=hidden, **sizes))


def test_heads_are_copied_if_that_is_asked_for():
    """As from ViT-Ti to ViT-S: twice as wide, twice as many heads of the same width."""
    torch.manual_seed(0)
    for build, inputs in (
        (lambda times: vit(1 + times, dim=12 * times, heads=2 * times), torch.randn(2, 3, 32, 32).double()),
        (lambda times: classifier(8 * times, 2 * times), torch.arange(12).reshape(2, 6)),
    ):
        small, large = as_trained(build(1)), as_trained(build(2))
        with pytest.raises(tg.AdaptError, match="heads are not grown unless you ask") as caught:
            tg.grow(large, small)
        assert 'heads="copy"' in str(caught.value)
        tg.grow(large, small, heads="copy")
        torch.testing.assert_close(output(large, inputs), output(small, inputs), rtol=1e-9, atol=1e-12)


def classifier(width, heads):
    sizes = {"num_hidden_layers": 2, "intermediate_size": 2 * width, "vocab_size": 30}
    config = BertConfig(hidden_size=width, num_attention_heads=heads, num_labels=3, **sizes)
    return BertForSequenceClassification(config)


IMAGE, TOKENS = (2, 3, 64, 64), (2, 9)
PAIRS = {
    "MLP, 7 to 10": (lambda: mlp(7), lambda: mlp(10), (4, 5)),
    "CNN, 4 to 7": (lambda: cnn(4), lambda: cnn(7), IMAGE),
    "autoencoder": (lambda: autoencoder(4), lambda: autoencoder(6), IMAGE),
    "gates": (lambda: Gated(4), lambda: Gated(6), (4, 5)),
    "ResNet, deeper": (
        lambda: ResNet(BasicBlock, [1, 1, 1, 1], 5),
        lambda: ResNet(BasicBlock, [2, 1, 3, 1], 5),
        IMAGE,
    ),
    "ResNet, as Wide ResNet-50": (
        lambda: ResNet(Bottleneck, [2, 1, 1, 1], 5),
        lambda: ResNet(Bottleneck, [2, 1, 1, 1], 5, width_per_group=128),
        IMAGE,
    ),
    "MobileNetV2, 0.35 to 0.5": (
        lambda: torchvision.models.mobilenet_v2(width_mult=0.35),
        lambda: torchvision.models.mobilenet_v2(width_mult=0.5),
        IMAGE,
    ),
    "ViT, MLP": (vit, lambda: vit(ratio=3.0), (2, 3, 32, 32)),
    "ViT, both": (vit, lambda: vit(4, 4.0), (2, 3, 32, 32)),
    "ViT, LayerScale": (lambda: vit(scale=0.1), lambda: vit(3, scale=0.1), (2, 3, 32, 32)),
    "ConvNeXt, twice as wide, deeper": (
        lambda: convnext(4, 8, 12, 16),
        lambda: convnext(8, 16, 24, 32, depths=(1, 2, 2, 1)),
        IMAGE,
    ),
    "Llama": (lambda: llama(2, 12), lambda: llama(3, 20), TOKENS),
    "GPT-2": (lambda: gpt2(2, 12), lambda: gpt2(4, 15), TOKENS),
    "BERT, MLP": (lambda: bert(2, 12), lambda: bert(2, 18), TOKENS),
}


def output(model, inputs):
    with torch.no_grad():
        made = model(inputs)
    return made if isinstance(made, torch.Tensor) else made[0]


@pytest.mark.parametrize("name", PAIRS)
def test_the_function_is_the_same(name):
    torch.manual_seed(0)
    build_small, build_large, shape = PAIRS[name]
    small, large = as_trained(build_small()), as_trained(build_large())
    inputs = torch.randint(0, 30, shape) if len(shape) == 2 and shape[1] == 9 else torch.randn(shape).double()
    before = {key: value.clone() for key, value in small.state_dict().items()}
    wanted = output(small, inputs)
    assert not torch.allclose(output(large, inputs), wanted, rtol=0.01)
    assert tg.grow(large, small) is large
    largest = float(wanted.abs().max())
    assert float((output(large, inputs) - wanted).abs().max()) < 1e-12 * largest
    small, large = small.float(), large.float()
    inputs = inputs if inputs.dtype == torch.long else inputs.float()
    assert float((output(large, inputs) - output(small, inputs)).abs().max()) <= 1e-5 * largest
    assert all(torch.equal(value.double(), before[key].double().float().double())
               for key, value in small.state_dict().items())  # fmt: skip


def test_batch_statistics_are_the_same_too():
    """In training mode, where a norm sees the batch."""
    torch.manual_seed(0)
    small, large = as_trained(cnn(4)), as_trained(cnn(7))
    tg.grow(large, small)
    inputs = torch.randn(IMAGE).double()
    torch.testing.assert_close(output(large.train(), inputs), output(small.train(), inputs))


def test_copies_share_out_unevenly_and_so_learn_different_things():
    torch.manual_seed(0)
    small, large = mlp(4).double(), mlp(8).double()
    tg.grow(large, small)
    first = large[0]
    assert torch.equal(first.weight[:4], first.weight[4:])
    taken = large[2].weight.detach()[:8]
    shares = taken[:, :4] / (taken[:, :4] + taken[:, 4:])
    torch.testing.assert_close(shares, shares[:1].expand_as(shares))
    assert 0.25 <= float(shares.min()) < float(shares.max()) <= 0.75
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    large(torch.randn(16, 5).double()).square().sum().backward()
    optimizer.step()
    assert float((first.weight[:4] - first.weight[4:]).detach().abs().min()) > 1e-6


def test_new_blocks_learn_from_the_first_step():
    """Their last layers start at zero, so that these get gradients first, and then the others."""
    torch.manual_seed(0)
    small, large = as_trained(vit(1)), as_trained(vit(2))
    tg.grow(large, small)
    block = large.blocks[1]
    assert not block.mlp.fc2.weight.any()
    assert block.mlp.fc1.weight.any()
    large(torch.randn(2, 3, 32, 32).double()).square().sum().backward()
    assert block.mlp.fc2.weight.grad.any()
    assert block.attn.proj.weight.grad.any()


def test_the_seed_gives_the_shares():
    small = mlp(3)
    grown = [tg.grow(mlp(5), small, seed=seed)[2].weight for seed in (0, 0, 1)]
    assert torch.equal(grown[0], grown[1])
    assert not torch.equal(grown[0], grown[2])


class Scaled(nn.Module):
    """A network that depends on its width beside its weights."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Linear(5, width), nn.Linear(width, 3)

    def forward(self, x):
        return self.b(self.a(x)) / self.a.out_features


class Joined(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, width), nn.Linear(5, width + 1), nn.Linear(2 * width + 1, 3)

    def forward(self, x):
        return self.c(torch.cat([self.a(x), self.b(x)], dim=-1))


def meta():
    with torch.device("meta"):
        return mlp(8)


def silent():
    model = mlp(4)
    nn.init.zeros_(model[4].weight)
    nn.init.zeros_(model[4].bias)
    return model


@pytest.mark.parametrize(
    ("small", "large", "message"),
    [
        (vit, lambda: vit(dim=24), "wider heads attend otherwise"),
        (vit, lambda: vit(heads=4), "heads are not grown unless you ask"),
        (lambda: bert(1, 12), lambda: bert(2, 12), "can't begin as the identity"),
        (lambda: convnext(4, 8, 12, 16), lambda: convnext(6, 12, 18, 24), "normalises 4 features"),
        (lambda: Scaled(4), lambda: Scaled(6), "outputs differ by .*tried: copied features of a.weight 4→6"),
        (lambda: Joined(4), lambda: Joined(6), "no layer takes them"),
        (lambda: mlp(10), lambda: mlp(7), "is larger in the smaller model"),
        (lambda: nn.Linear(3, 4), lambda: nn.Linear(3, 5), "adapt.small, num_classes="),
        (lambda: nn.Linear(3, 4), lambda: nn.Linear(5, 4), "adapt.small, in_channels="),
        (lambda: mlp(4), lambda: cnn(4), "lacks 11 tensors|lacks"),
        (lambda: mlp(4), meta, "no values to compare"),
        (silent, lambda: mlp(6), "nothing but zeros"),
        (lambda: nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2)),
         lambda: nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)), "knows 3 tokens"),
        (lambda: nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 2, 1)),
         lambda: nn.Sequential(nn.Conv2d(4, 12, 1), nn.Conv2d(12, 12, 1, groups=2), nn.Conv2d(12, 2, 1)),
         "convolution of 2 groups"),
        (lambda: nn.Conv2d(3, 4, 3), lambda: nn.Conv2d(3, 4, 5), "another kernel"),
    ],
)  # fmt: skip
def test_what_can_not_be_grown_leaves_the_model_as_it_was(small, large, message):
    torch.manual_seed(0)
    small, large = small(), large()
    before = {key: value.clone() for key, value in large.state_dict().items()}
    with pytest.raises(tg.AdaptError, match=message):
        tg.grow(large, small)
    after = large.state_dict()
    assert all(value.is_meta or torch.equal(value, after[key]) for key, value in before.items())
