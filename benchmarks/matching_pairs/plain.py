"""Small modules as people write them: the same networks as the libraries', under other names."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class SplitAttention(nn.Module):
    """Causal or full self-attention with a Linear each for queries, keys and values."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for proj in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))


class FusedAttention(nn.Module):
    """The same with one Linear for the three."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.wqkv = nn.Linear(width, 3 * width)
        self.wo = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.wqkv(x).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.wo(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.ln_attn = nn.LayerNorm(width)
        self.attn = (FusedAttention if fused else SplitAttention)(width, heads, True)
        self.ln_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_attn(x))
        return x + self.down(F.gelu(self.up(self.ln_mlp(x)), approximate="tanh"))


class PlainGPT(nn.Module):
    """GPT-2 with Linear layers; the embedding is the output projection too."""

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, fused) for _ in range(depth))
        self.ln_out = nn.LayerNorm(width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.ln_out(x) @ self.tokens.weight.t()


class PostNormLayer(nn.Module):
    """BERT's layer under the paper's words."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SplitAttention(width, heads, False)
        self.attn_norm = nn.LayerNorm(width, eps=1e-12)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.ffn_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attn_norm(x + self.self_attn(x))
        return self.ffn_norm(x + self.ffn(x))


class PlainEncoder(nn.Module):
    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.stack = nn.Sequential(*(PostNormLayer(width, heads) for _ in range(depth)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stack(x)


class PlainBert(nn.Module):
    """Embeddings and encoder, with one type of segment only, that nobody stores."""

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.encoder = PlainEncoder(width, depth, heads)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.word(ids) + self.place(torch.arange(ids.shape[1]))
        return self.encoder(self.norm(x))


def torch_encoder(
    width: int, depth: int, heads: int, *, first: bool = False, norm: bool = False
) -> nn.Module:
    """PyTorch's own, with in_proj_weight."""
    layer = nn.TransformerEncoderLayer(
        width,
        heads,
        4 * width,
        activation="gelu",
        batch_first=True,
        norm_first=first,
        layer_norm_eps=1e-6 if first else 1e-12,
    )
    last = nn.LayerNorm(width, eps=1e-6) if norm else None
    return nn.TransformerEncoder(layer, depth, norm=last, enable_nested_tensor=False)


class TokenStack(nn.Module):
    """Blocks and a norm taken from a vision transformer, run on vectors."""

    def __init__(self, blocks: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.blocks, self.norm = blocks, norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
            x = x[0] if isinstance(x, tuple) else x
        return self.norm(x)


class PlainViT(nn.Module):
    """A ViT whose table and token are flat, whose patches go through a Linear, with split projections."""

    def __init__(
        self, size: int, patch: int, channels: int, width: int, depth: int, heads: int, classes: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(channels * patch * patch, width)
        self.cls = nn.Parameter(torch.zeros(width))
        self.pos = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, width))
        self.layers = nn.ModuleList(PreNormLayer(width, heads) for _ in range(depth))
        self.ln = nn.LayerNorm(width, eps=1e-6)
        self.classify = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)  # channels first inside a patch
        x = self.embed(x)
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], 1) + self.pos
        for layer in self.layers:
            x = layer(x)
        return self.classify(self.ln(x)[:, 0])


class PreNormLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_before_attention = nn.LayerNorm(width, eps=1e-6)
        self.attention = SplitAttention(width, heads, False)
        self.norm_before_mlp = nn.LayerNorm(width, eps=1e-6)
        self.dense_in = nn.Linear(width, 4 * width)
        self.dense_out = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_before_attention(x))
        return x + self.dense_out(F.gelu(self.dense_in(self.norm_before_mlp(x))))
