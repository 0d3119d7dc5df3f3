"""Rows for tokens that a table does not have yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["VocabularyMode", "drawn_from_all", "new_token_rows", "normal_vocabulary_mode", "share"]

VocabularyMode: TypeAlias = Literal["mean-cov", "mean", "zeros", "own", "prefix"]
"""How tokens that the source does not have get their rows; see `Vocabulary`."""

_NAMES = get_args(VocabularyMode)
_SHARE = 1e-5
"""Of the covariance, as Hewitt (2021) has it; transformers takes 1e-9."""

_MOST_DRAWN = 1 << 24


def normal_vocabulary_mode(mode: object) -> VocabularyMode:
    """The mode, if it is one.

    Raises:
        AdaptError: It is not; the message lists them.
    """
    if mode not in _NAMES:
        raise AdaptError(f"there is no vocabulary mode {mode!r}", hint=f"use one of {', '.join(_NAMES)}")
    return cast(VocabularyMode, mode)


def new_token_rows(known: torch.Tensor, count: int, mode: VocabularyMode, seed: int) -> torch.Tensor:
    """So many rows, from those of the known tokens; see `Vocabulary` for the formulas.

    They are in float32 where `known` is narrower.
    """
    import torch

    tokens, *rest = known.shape
    if not known.is_floating_point() or mode == "zeros":
        return known.new_zeros((count, *rest))
    flat = widened(known).reshape(tokens, -1)
    mean = flat.mean(dim=0)
    if mode == "mean":
        return mean.expand(count, -1).reshape(count, *rest)
    root = (flat - mean) * share(tokens)
    # Rows times standard normal numbers have the covariance rowsᵀ·rows; so has the R of rows = Q·R, which
    # has no more rows than columns. No covariance need be built or be positive definite.
    if not drawn_from_all(tokens, count, root.shape[1]):
        root = torch.linalg.qr(root, mode="r").R
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, root.shape[0], generator=generator, dtype=flat.dtype)
    return (mean + drawn.to(flat.device) @ root).reshape(count, *rest)


def share(tokens: int) -> float:
    """√(10⁻⁵ / n): what a row's difference from the mean is multiplied with before it is drawn from."""
    return float((_SHARE / tokens) ** 0.5)


def drawn_from_all(tokens: int, count: int, width: int) -> bool:
    """Whether so many rows of this width are drawn from the known rows, without a decomposition."""
    return count < min(tokens, width) and count * tokens <= _MOST_DRAWN
