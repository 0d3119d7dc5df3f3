"""Rows for classes that an old classifier does not have, computed from those it has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from torchgraft.adapting.row_lengths import common_length, of_length
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["LOW", "SEED", "NewRows", "computed_rows", "normal_new_rows"]

NewRows: TypeAlias = Literal["model", "mean", "mean-cov", "zeros"]
"""Where new rows come from, see `Rows`."""

LOW = math.log(0.01 / 0.99)
"""The bias at which a sigmoid gives 0.01."""

SEED = 0


def normal_new_rows(mode: object) -> NewRows:
    """The mode, checked.

    Raises:
        AdaptError: There is none of that name.
    """
    if mode not in get_args(NewRows):
        raise AdaptError(
            f"there is no mode {mode!r} for new rows", hint=f"use one of {', '.join(get_args(NewRows))}"
        )
    return mode  # type: ignore[return-value]  # one of the names


def computed_rows(mode: NewRows, old: torch.Tensor, count: int) -> torch.Tensor:
    """So many new rows, `(count, …)`, in the dtype of `old`.

    Args:
        mode: Any but `"model"`.
        old: The rows of a weight or the entries of a bias, in float32 or wider.
        count: At least 1.
    """
    import torch

    shape = (count, *old.shape[1:])
    if mode == "zeros":
        bias = old.ndim == 1
        return old.min().clamp(max=LOW).expand(shape) if bias else old.new_zeros(shape)
    mean = old.mean(dim=0, keepdim=True)
    made = mean.expand(shape)
    if mode == "mean-cov" and len(old) > 1 and not old.is_meta:
        noise = torch.randn(count, len(old), generator=torch.Generator().manual_seed(SEED), device="cpu")
        spread = noise.to(old) @ (old - mean).flatten(1) if old.ndim > 1 else noise.to(old) @ (old - mean)
        made = mean + spread.reshape(shape) / math.sqrt(len(old) - 1)
    return of_length(made, common_length(old))
