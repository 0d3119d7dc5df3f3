"""Two kinds of network, as deep as it takes, each spelled as two invented code bases would."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

__all__ = ["SUBJECTS", "Subject"]


class Bottleneck(nn.Module):
    """Names as torchvision's; `words` gives them as another code base would spell them."""

    def __init__(self, inputs: int, width: int, out: int, words: Sequence[str]) -> None:
        super().__init__()
        self.words = words
        sizes = [(inputs, width, 1), (width, width, 3), (width, out, 1)]
        for place, (one, other, kernel) in enumerate(sizes):
            put(self, words[2 * place], nn.Conv2d(one, other, kernel, padding=kernel // 2, bias=False))
            put(self, words[2 * place + 1], nn.BatchNorm2d(other))
        if inputs != out:
            put(self, words[6], nn.Conv2d(inputs, out, 1, bias=False))
            put(self, words[7], nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layers = [self.get_submodule(word) for word in self.words[: 8 if x.shape[1] != self.out else 6]]
        y = x
        for conv, norm in zip(layers[:6:2], layers[1:6:2], strict=True):
            y = functional.relu(norm(conv(y)))
        return y + (layers[7](layers[6](x)) if len(layers) > 6 else x)

    @property
    def out(self) -> int:
        weight = self.get_submodule(self.words[4]).weight
        assert isinstance(weight, torch.Tensor)
        return weight.shape[0]


class ResNet(nn.Module):
    """Four stages of bottlenecks between a stem and a head."""

    def __init__(self, blocks: int, words: Sequence[str], outer: Sequence[str]) -> None:
        super().__init__()
        self.order = [outer[0], outer[1], *(outer[2].format(stage) for stage in range(4)), outer[3]]
        put(self, outer[0], nn.Conv2d(3, 16, 3, bias=False))
        put(self, outer[1], nn.BatchNorm2d(16))
        inputs = 16
        for stage, path in enumerate(self.order[2:6]):
            width, deep = 8 << stage, max(1, blocks // 4)
            sizes = [(inputs if place == 0 else 4 * width) for place in range(deep)]
            put(self, path, nn.Sequential(*(Bottleneck(size, width, 4 * width, words) for size in sizes)))
            inputs = 4 * width
        put(self, outer[3], nn.Linear(inputs, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *body, head = (self.get_submodule(path) for path in self.order)
        for layer in body:
            x = layer(x)
        return head(x.mean((2, 3)))


class Layer(nn.Module):
    """A pre-norm transformer block: query, key and value fused, or not."""

    def __init__(self, width: int, words: Sequence[str]) -> None:
        super().__init__()
        self.words = words
        put(self, words[0], nn.LayerNorm(width))
        for word in words[1:-4]:
            put(self, word, nn.Linear(width, width if len(words) > 6 else 3 * width))
        put(self, words[-4], nn.Linear(width, width))
        put(self, words[-3], nn.LayerNorm(width))
        put(self, words[-2], nn.Linear(width, 4 * width))
        put(self, words[-1], nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before, *inputs, out, after, up, down = (self.get_submodule(word) for word in self.words)
        h = before(x)
        q, k, v = torch.cat([layer(h) for layer in inputs], -1).chunk(3, -1)
        x = x + out(functional.scaled_dot_product_attention(q, k, v))
        return x + down(functional.gelu(up(after(x))))


class Transformer(nn.Module):
    """Tokens, positions, blocks, a head."""

    def __init__(self, blocks: int, words: Sequence[str], outer: Sequence[str]) -> None:
        super().__init__()
        self.order = list(outer)
        put(self, outer[0], nn.Embedding(100, 32))
        put(self, outer[1], nn.Embedding(64, 32))
        put(self, outer[2], nn.Sequential(*(Layer(32, words) for _ in range(blocks))))
        put(self, outer[3], nn.Linear(32, 10))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        tokens, positions, blocks, head = (self.get_submodule(path) for path in self.order)
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        return head(blocks(tokens(input_ids) + positions(places)).mean(1))


def put(module: nn.Module, path: str, child: nn.Module) -> None:
    """Make the child a submodule at a dotted path."""
    *above, last = path.split(".")
    for part in above:
        if part not in dict(module.named_children()):
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    module.add_module(last, child)


OUR_BLOCK = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")
THEIR_BLOCK = ("a.conv", "a.norm", "b.conv", "b.norm", "c.conv", "c.norm", "shortcut.conv", "shortcut.norm")
OUR_NET = ("conv1", "bn1", "layer{}", "fc")
THEIR_NET = ("stem.conv", "stem.norm", "stages.{}.blocks", "head")
OUR_LAYER = ("ln_1", "att.query", "att.key", "att.value", "att.output", "ln_2", "ffn.up", "ffn.down")
WORDY_LAYER = ("att_norm", *OUR_LAYER[1:5], "ffn_norm", *OUR_LAYER[6:])
THEIR_LAYER = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
OUR_TOKENS = ("tokens", "positions", "encoder.layer", "classifier")
THEIR_TOKENS = ("wte", "wpe", "blocks", "head")


@dataclass(frozen=True)
class Subject:
    """Weights and a model that should meet.

    Attributes:
        name: What is asked.
        source: Makes the network that the weights are of, so many blocks deep.
        target: Makes the model that they go into.
        tensors: How many tensors a block has, on the side with more.
        words: What a name of the model is called in the weights, part by part.
        prefix: What the weights have before every name.
        example: What the model is run on.
    """

    name: str
    source: Callable[[int], nn.Module]
    target: Callable[[int], nn.Module]
    tensors: int
    words: Sequence[tuple[str, str]] = ()
    prefix: str = ""
    example: tuple[int, ...] = (1, 3, 16, 16)

    def origin(self, target: str) -> str:
        """The weights' name of a tensor of the model; of the first part, where it is fused."""
        for theirs, ours in self.words:
            target = re.sub(rf"(?<![^.]){theirs}(?![^.])", ours, target)
        return self.prefix + target


def their(block: Sequence[str], ours: Sequence[str]) -> list[tuple[str, str]]:
    return [(re.escape(one), other) for one, other in zip(block, ours, strict=True)]


def resnet(blocks: int) -> nn.Module:
    return ResNet(blocks, OUR_BLOCK, OUR_NET)


RENAMED = [*their(THEIR_NET[:2], OUR_NET[:2]), *their(THEIR_BLOCK, OUR_BLOCK), ("head", "fc")]
STAGES = (r"stages\.(\d)\.blocks", r"layer\1")
FUSED = (*OUR_LAYER[:2], *OUR_LAYER[4:])
TOKENS = their(THEIR_TOKENS, OUR_TOKENS)
SUBJECTS = (
    Subject("exact names", resnet, resnet, 18),
    Subject("a prefix", resnet, resnet, 18, prefix="module.net."),
    Subject(
        "foreign convolutions",
        resnet,
        lambda blocks: ResNet(blocks, THEIR_BLOCK, THEIR_NET),
        18,
        words=[*RENAMED, STAGES],
    ),
    Subject(
        "foreign transformer, qkv fused",
        lambda blocks: Transformer(blocks, OUR_LAYER, OUR_TOKENS),
        lambda blocks: Transformer(blocks, THEIR_LAYER, THEIR_TOKENS),
        16,
        words=[*their(THEIR_LAYER, FUSED), *TOKENS],
        example=(1, 8),
    ),
    Subject(
        "the same, norms told by a run",
        lambda blocks: Transformer(blocks, WORDY_LAYER, OUR_TOKENS),
        lambda blocks: Transformer(blocks, THEIR_LAYER, THEIR_TOKENS),
        16,
        words=[
            *their(THEIR_LAYER, (WORDY_LAYER[0], FUSED[1], FUSED[2], WORDY_LAYER[5], *FUSED[4:])),
            *TOKENS,
        ],
        example=(1, 8),
    ),
)
