"""The arithmetic of other input channels, on weights `(out, N, *kernel)`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchgraft.adapting.in_mode import ChannelMap, Entry, NamedInMode

if TYPE_CHECKING:
    import torch

__all__ = ["densified", "extended", "kept_scale", "spread"]


def spread(w: torch.Tensor, m: int, mode: NamedInMode | ChannelMap) -> torch.Tensor:
    """The weight for m channels, `(out, m, *kernel)`; see `InputChannels` for the modes."""
    import torch

    n = w.shape[1]
    if isinstance(mode, tuple):
        return torch.stack([_channel(w, entry) for entry in mode], dim=1)
    if mode == "zeros":
        return torch.cat([w, w.new_zeros((w.shape[0], m - n, *w.shape[2:]))], dim=1)
    if mode == "sum":
        return (w.sum(dim=1, keepdim=True) / m).repeat_interleave(m, dim=1)
    if mode in ("mean", "keep-scale"):
        new = extended(w, m)
        return new * (n / m if mode == "mean" else kept_scale(w, new))
    if m == 1:
        return w.sum(dim=1, keepdim=True)
    rest = (1,) * (w.ndim - 2)
    return w.repeat(1, math.ceil(m / n), *rest)[:, :m] * (n / m)


def extended(w: torch.Tensor, m: int) -> torch.Tensor:
    """The channels as they are, where they all stay, and their mean for the others."""
    import torch

    kept = w if m >= w.shape[1] else w[:, :0]
    mean = w.mean(dim=1, keepdim=True)
    return torch.cat([kept, mean.repeat_interleave(m - kept.shape[1], dim=1)], dim=1)


def kept_scale(w: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """For each filter the factor that gives `new` the length of `w`; 0 for a filter of zeros."""
    import torch

    length = torch.linalg.vector_norm(new.flatten(1), dim=1)
    wanted = torch.linalg.vector_norm(w.flatten(1), dim=1)
    ratio: torch.Tensor = (wanted / length).where(length > 0, length)
    return ratio.reshape(-1, *(1,) * (w.ndim - 1))


def densified(w: torch.Tensor, groups: int) -> torch.Tensor:
    """The weight `(out, N, …)` of the dense convolution that equals a grouped one of `(out, N/groups, …)`.

    Zero wherever a filter does not see a channel, so that it gives the same, up to the order of summation.
    """
    out, each = w.shape[:2]
    dense = w.new_zeros((out, each * groups, *w.shape[2:]))
    per_group = out // groups
    for group in range(groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        dense[rows, group * each : (group + 1) * each] = w[rows]
    return dense


def _channel(w: torch.Tensor, entry: Entry) -> torch.Tensor:
    """One new channel of a map."""
    import torch

    if isinstance(entry, int):
        return w[:, entry]
    if isinstance(entry, tuple):
        mixed: torch.Tensor = torch.tensordot(w.new_tensor(entry), w[:, : len(entry)], dims=([0], [1]))
        return mixed
    return w.mean(dim=1) if entry == "mean" else torch.zeros_like(w[:, 0])
