"""The op that gives a first layer another number of input channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.in_mode import NamedInMode, normal_in_mode
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["InputChannels"]


@dataclass(frozen=True, slots=True)
class InputChannels:
    """Input channels N→M of a weight `(out, N, *kernel)`: 1-, 2-, 3-D convolutions and `Linear`.

    With w the source's channels and w̄ their mean, new channel j is

    | mode | j < N | j ≥ N | only if |
    |---|---|---|---|
    | `repeat` | w[j mod N] · N/M | the same | M > 1; for M = 1 it is Σw |
    | `mean` | w[j] · N/M | w̄ · N/M | M ≥ N; for M < N all are w̄ · N/M |
    | `sum` | Σw / M | the same | |
    | `zeros` | w[j] | 0 | M ≥ N |
    | a map | w[map[j]], w̄ or 0 as they are, never rescaled | | its length is M |

    What stays the same:
        `mean` and `sum` keep the response to an input whose channels all carry the same image, up to
        rounding: Σ new = Σ w. So does `repeat` where M is 1 or a multiple of N; else only on average over
        the order of the source's channels, since each enters with weight ⌊M/N⌋ or ⌈M/N⌉ times N/M.
        `zeros` keeps every response bit for bit, whatever the further channels carry (so long as it is
        finite). For channels that are independent of each other, no mode that is exact for equal
        channels keeps the variance too: with N/M it changes by about N/M.

    Sources:
        `repeat` is timm's `adapt_input_conv` to the bit. Filling all new channels with the mean, without
        rescaling, is the cross-modality initialisation of Wang et al., Temporal Segment Networks
        (2016), §3.2; a map of `"mean"` gives it.

    Attributes:
        source: N.
        target: M.
        mode: A mode's name or a map, see `InMode`.
    """

    name: ClassVar[str] = "input-channels"
    needs_base: ClassVar[bool] = False

    source: int
    target: int
    mode: NamedInMode | tuple[int | str, ...] = "repeat"

    def __post_init__(self) -> None:
        change = f"{self.source}→{self.target} input channels"
        if self.source < 1 or self.target < 1:
            raise AdaptError(f"{change}: both must be at least 1")
        if self.mode == "zeros" and self.target < self.source:
            raise AdaptError(
                f'{change}: mode "zeros" adds channels, it can\'t remove them',
                hint='use in_mode="sum", which keeps the response to equal channels',
            )
        if isinstance(self.mode, tuple):
            if len(self.mode) != self.target:
                raise AdaptError(
                    f"{change}: the map has {len(self.mode)} entries, one a new channel is needed"
                )
            beyond = [entry for entry in self.mode if isinstance(entry, int) and entry >= self.source]
            if beyond:
                raise AdaptError(
                    f"{change}: there is no source channel {beyond[0]}, they end at {self.source - 1}"
                )

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> InputChannels | None:
        """The op for a stem whose second dimension differs, or whose channels a map puts in another order."""
        if change.role != "stem" or len(shape) != len(change.target) or len(shape) < 2:
            return None
        mode = normal_in_mode(change.mode(cls.name, "repeat"))
        n, m = shape[1], change.target[1]
        if n == m and (isinstance(mode, str) or mode == tuple(range(n))):
            return None
        if change.groups != 1:
            raise AdaptError(
                f"the stem is a grouped convolution ({change.groups} groups): its weight "
                f"{list(shape)} has input channels divided by groups, which no rule changes",
            )
        return cls(n, m, mode)

    def describe(self) -> str:
        """Such as `"input channels 3→4, repeat"`."""
        mode = self.mode if isinstance(self.mode, str) else ",".join(map(str, self.mode))
        return f"input channels {self.source}→{self.target}, {mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if isinstance(self.mode, tuple):
            return "each new channel weighs as the map says, nothing is rescaled"
        if self.mode == "zeros":
            return "the response stays the same, whatever the new channels carry"
        if self.mode == "repeat" and self.target != 1 and self.target % self.source:
            return "the response to equal channels stays about the same"
        return "the response to equal channels stays the same"

    def with_mode(self, mode: object) -> InputChannels:
        """The same step in another mode."""
        return replace(self, mode=normal_in_mode(mode))

    def shape(self, source: Shape) -> Shape:
        """`(out, N, *kernel)` → `(out, M, *kernel)`."""
        return (source[0], self.target, *source[2:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight for M channels, computed in float32 or wider, in the source's dtype.

        Raises:
            AdaptError: The tensor is not a floating-point weight with N input channels.
        """
        self._check(tensor, self.source)
        return self._widen(widened(tensor)).to(tensor.dtype)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight for N channels.

        Raises:
            AdaptError: Source channels were merged or dropped, or the further channels have been
                trained since, so that leaving them out would change what the model does.
        """
        self._check(tensor, self.target)
        places = self._places()
        if places is None:
            raise AdaptError(
                f"{self.describe()} can't be undone: the source's channels were merged or dropped"
            )
        wide = widened(tensor)
        back = wide[:, places]
        if self.mode in ("repeat", "mean"):
            back = back * (self.target / self.source)
        if not wide.is_meta:
            again = self._widen(back)
            tolerance = 8 * float(_eps(tensor)) * float(again.abs().max())
            if float((again - wide).abs().max()) > tolerance:
                raise AdaptError(
                    f"{self.describe()} can't be undone: the new channels have been trained since, "
                    "and dropping them would change the model",
                )
        return back.to(tensor.dtype)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        mode = self.mode if isinstance(self.mode, str) else list(self.mode)
        return {"op": self.name, "source": self.source, "target": self.target, "mode": mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputChannels:
        """The inverse of `to_json`."""
        return cls(int(data["source"]), int(data["target"]), normal_in_mode(data["mode"]))

    def _widen(self, w: torch.Tensor) -> torch.Tensor:
        import torch

        n, m = self.source, self.target
        if isinstance(self.mode, tuple):
            channels = {"mean": w.mean(dim=1), "zeros": torch.zeros_like(w[:, 0])}
            picked = [w[:, entry] if isinstance(entry, int) else channels[entry] for entry in self.mode]
            return torch.stack(picked, dim=1)
        if self.mode == "zeros":
            return torch.cat([w, w.new_zeros(self.shape(tuple(w.shape))).narrow(1, 0, m - n)], dim=1)
        if self.mode == "sum":
            return (w.sum(dim=1, keepdim=True) / m).repeat_interleave(m, dim=1)
        if self.mode == "mean":
            mean = w.mean(dim=1, keepdim=True)
            kept = w if m >= n else w[:, :0]
            return torch.cat([kept, mean.repeat_interleave(m - kept.shape[1], dim=1)], dim=1) * (n / m)
        if m == 1:
            return w.sum(dim=1, keepdim=True)
        rest = (1,) * (w.ndim - 2)
        return w.repeat(1, math.ceil(m / n), *rest)[:, :m] * (n / m)

    def _places(self) -> list[int] | None:
        """For each source channel the new channel it can be read back from; `None` if one is lost."""
        if isinstance(self.mode, tuple):
            if not set(range(self.source)) <= set(self.mode):
                return None
            return [self.mode.index(channel) for channel in range(self.source)]
        if self.source == 1:
            return [0]
        lost = self.mode == "sum" or self.target < self.source
        return None if lost else list(range(self.source))

    def _check(self, tensor: torch.Tensor, channels: int) -> None:
        if tensor.ndim < 2 or tensor.shape[1] != channels:
            raise AdaptError(
                f"{self.describe()}: a weight of shape {list(tensor.shape)} has not {channels} input channels"
            )
        if not tensor.is_floating_point():
            raise AdaptError(
                f"{self.describe()}: a {tensor.dtype} weight can't be rescaled; dequantise it first"
            )


def _eps(tensor: torch.Tensor) -> float:
    import torch

    return torch.finfo(tensor.dtype).eps
